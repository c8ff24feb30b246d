//! The README's tables are made from the code: a test of the library compares them, `make readme` writes them.
//!
//! `<!-- table: keys -->` begins a table in the README and `<!-- end -->` ends it.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use crate::command::SUBCOMMANDS;
use crate::error::{Code, Error, Op, Stage};
use crate::hint::hint;
use crate::plan::KEYS;

const END: &str = "<!-- end -->";

/// Makes a table from the code, or from the Makefile's text.
type Make = fn(&str) -> String;

const TABLES: [(&str, Make); 4] = [
    ("commands", commands),
    ("keys", keys),
    ("subcommands", subcommands),
    ("codes", codes),
];

fn workspace(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The README with its tables filled in.
fn filled(readme: &str, makefile: &str) -> String {
    let mut readme = readme.to_owned();
    for (name, make) in TABLES {
        let begin = format!("<!-- table: {name} -->\n");
        let (before, rest) = readme
            .split_once(&begin)
            .unwrap_or_else(|| panic!("README.md lacks {begin}"));
        let (_, after) = rest
            .split_once(END)
            .unwrap_or_else(|| panic!("the table `{name}` lacks {END}"));
        readme = format!("{before}{begin}{}{END}{after}", make(makefile));
    }
    readme
}

/// The targets that the Makefile explains behind `##`, and what it says of them.
fn targets(makefile: &str) -> impl Iterator<Item = (&str, &str)> {
    let rules = makefile.lines().filter(|line| !line.starts_with('\t'));
    rules.filter_map(|line| {
        let (rule, does) = line.split_once(" ## ")?;
        Some((rule.split_once(':')?.0, does))
    })
}

fn commands(makefile: &str) -> String {
    let rows = targets(makefile).map(|(name, does)| [format!("`make {name}`"), does.to_owned()]);
    table(["command", "what it does"], rows)
}

fn keys(_: &str) -> String {
    let rows = KEYS.iter().map(|key| {
        let meaning = match key.supported {
            true => key.meaning.to_owned(),
            false => format!("{}; refused so far", key.meaning),
        };
        [
            format!("`{}`", key.name),
            key.accepts.to_owned(),
            key.default.to_owned(),
            meaning,
        ]
    });
    table(["key", "value", "default", "meaning"], rows)
}

fn subcommands(_: &str) -> String {
    let rows = SUBCOMMANDS.iter().map(|command| {
        let options = command.options.iter().map(|option| match option.value {
            Some(value) => format!("`--{} {value}`", option.long),
            None => format!("`--{}`", option.long),
        });
        [
            format!(
                "`{}`",
                format!("{} {}", command.name, command.operands).trim()
            ),
            command.about.to_owned(),
            options.collect::<Vec<_>>().join(", "),
        ]
    });
    table(["command", "what it does", "options"], rows)
}

fn codes(_: &str) -> String {
    let rows = Code::ALL.iter().map(|code| {
        let error = Error::new(Stage::Early, *code, Op::Open, "", "");
        [
            code.to_string(),
            code.meaning().to_owned(),
            hint(&error).to_owned(),
        ]
    });
    table(["code", "what happened", "what to do"], rows)
}

/// A table of Markdown.
fn table<const N: usize>(heads: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let heads = [heads.map(str::to_owned), heads.map(|_| "---".to_owned())];
    let mut table = String::new();
    for cells in heads.into_iter().chain(rows) {
        let cells = cells.map(|cell| cell.replace('|', "\\|"));
        writeln!(table, "| {} |", cells.join(" | ")).unwrap();
    }
    table
}

#[test]
fn the_readmes_tables_are_those_of_the_code() {
    let readme = workspace("README.md");
    let filled = filled(&readme, &workspace("Makefile"));
    if env::var_os("BERTH_WRITE_README").is_some() {
        fs::write(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"),
            &filled,
        )
        .unwrap();
        return;
    }
    for (is, should) in readme.lines().zip(filled.lines()) {
        assert_eq!(is, should, "`make readme` puts it right");
    }
    assert_eq!(readme, filled, "`make readme` puts it right");
}

#[test]
fn the_readmes_commands_are_in_the_makefile() {
    let (readme, makefile) = (workspace("README.md"), workspace("Makefile"));
    let commands = readme
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("make "));
    let mut seen = 0;
    for command in commands {
        let target = command
            .split_whitespace()
            .find(|word| !word.contains('='))
            .unwrap_or("");
        assert!(
            targets(&makefile).any(|(name, _)| name == target),
            "make {command}"
        );
        seen += 1;
    }
    assert!(seen >= 2, "the README shows the two commands");
}
