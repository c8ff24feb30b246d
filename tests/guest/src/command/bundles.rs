//! Bundles that standard tools have made, beside the directory of the cases: as they are, and asked
//! what they see.
//!
//! The configurations of `runc spec`, `crun spec` and `umoci unpack` all want a terminal, so each
//! bundle is run on one first.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::lab::Lab;
use super::terminal::Ours;
use super::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    Nothing debian_with_the_configuration_of_runc_runs,
    Nothing busybox_with_the_configuration_of_crun_runs,
    Nothing image_that_umoci_has_unpacked_runs,
];

fn debian_with_the_configuration_of_runc_runs(lab: &Lab) -> Result<()> {
    runs(lab, "debian")
}

fn busybox_with_the_configuration_of_crun_runs(lab: &Lab) -> Result<()> {
    runs(lab, "busybox")
}

fn image_that_umoci_has_unpacked_runs(lab: &Lab) -> Result<()> {
    runs(lab, "image")
}

fn runs(lab: &Lab, name: &str) -> Result<()> {
    let bundle = directory(lab, name)?;
    let path = bundle.to_str().context("a path")?;
    let ours = Ours::new(24, 80)?;
    let mut child = ours.start(&mut lab.command(["run", "--bundle", path, "one"]))?;
    (&ours.outer).write_all(b"exit 7\n")?;
    let status = child.wait()?;
    ensure!(status.code() == Some(7), "on a terminal: {status}");

    let mut config: Value = serde_json::from_slice(&fs::read(bundle.join("config.json"))?)?;
    let questions = fs::read_to_string(bundle.join("questions"))?;
    config["process"]["args"] = json!(["/bin/sh", "-c", questions]);
    config["process"]["terminal"] = json!(false);
    config["root"]["path"] = json!(bundle.join("rootfs"));
    fs::create_dir(lab.directory.join("b"))?;
    fs::write(lab.directory.join("b/config.json"), config.to_string())?;
    let said = lab.ok(&["run", "--bundle", "b", "two"])?;
    let answers = fs::read_to_string(bundle.join("answers"))?;
    ensure!(said == answers, "{said:?}, not {answers:?}");
    ensure!(lab.ok(&["list", "-q"])?.is_empty(), "something is left");
    Ok(())
}

fn directory(lab: &Lab, name: &str) -> Result<PathBuf> {
    let cases = lab.directory.parent().and_then(|cases| cases.parent());
    let bundle = cases.context("a directory")?.join("bundles").join(name);
    bundle
        .canonicalize()
        .with_context(|| bundle.display().to_string())
}
