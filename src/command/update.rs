//! `update`: other limits for a container that there is. What is not mentioned stays as it is.

use rustix::fs::CWD;

use super::state::Directory;
use super::{Call, Subcommand, Tell, Told, group};
use crate::container::{Status, refusal};
use crate::error::{Code, During, Op};
use crate::parse::arguments::Opt;
use crate::parse::config::{ConfigError, MAX_SIZE, Resources};
use crate::parse::json;
use crate::sys::buffer::Buffer;
use crate::sys::{console, fs};

const RESOURCES: Opt = Opt {
    long: "resources",
    short: Some('r'),
    value: Some("FILE"),
    about: "the limits, as `linux.resources` has them; - is standard input",
};

pub(super) const COMMAND: Subcommand = Subcommand {
    name: "update",
    operands: "ID",
    count: (1, 1),
    raw_from: usize::MAX,
    options: &[&RESOURCES],
    about: "change the limits of a container",
    run,
};

fn run(call: &Call<'_>) -> Result<u8, Told> {
    let id = call.id()?;
    let path = call.given.value(&RESOURCES);
    let path = path.ok_or_else(|| call.usage("--resources is missing"))?;
    let directory = Directory::open(call, id)?;
    let record = directory.record(call)?;
    let mut buffer = Buffer::<{ MAX_SIZE + 1 }>::new();
    let text = match path {
        "-" => {
            let [input, ..] = console::standard_descriptors();
            buffer.fill_from(input).during(Op::Read, "standard input")
        }
        _ => {
            fs::open_file(CWD, path).and_then(|file| buffer.fill_from(&file).during(Op::Read, path))
        }
    };
    let text = text.tell(call, Code::BundleConfig)?;
    let resources = json::check(text).map_err(ConfigError::Json);
    let resources = resources
        .and_then(|section| Resources::check(Some(section)))
        .map_err(|error| call.fail(&refusal(path, &error)))?;
    let status = directory.status(&record).tell(call, Code::State)?;
    if status == Status::Stopped {
        return Err(call.wrong_status(Op::Configure, id, status));
    }
    group::of(call, &record, id)?
        .apply(&resources)
        .tell(call, Code::Control)?;
    Ok(0)
}
