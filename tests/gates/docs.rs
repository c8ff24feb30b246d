//! Tables in the README and in `docs/` are made from the code: a test of the library compares them,
//! `make docs` writes them.
//!
//! `<!-- table: keys -->` begins a table in a document and `<!-- end -->` ends it. Links between
//! the documents have to lead somewhere, and the commands that the documents show have to be in the
//! Makefile.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::command::SUBCOMMANDS;
use crate::error::{Code, Error, Op};
use crate::hint::hint;
use crate::parse::config::table::{Becomes, FIELDS, Inside, Row};
use crate::parse::json::{self, Node};
use crate::plan::KEYS;

const BEGIN: &str = "<!-- table: ";
const END: &str = "<!-- end -->";

/// Makes a table from the code, or from the Makefile's text.
type Make = fn(&str) -> String;

/// The tables, and the document that each one is in.
const TABLES: [(&str, &str, Make); 5] = [
    ("commands", "docs/development.md", commands),
    ("keys", "docs/command-line.md", keys),
    ("subcommands", "docs/command.md", subcommands),
    ("codes", "docs/failure-codes.md", codes),
    ("fields", "docs/bundles.md", fields),
];

fn workspace(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The README and all of `docs/`: where each is, and its text.
fn documents() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(workspace("docs")).unwrap();
    let mut paths: Vec<_> = docs.map(|entry| entry.unwrap().path()).collect();
    paths.push(workspace("README.md"));
    paths.sort();
    let read = |path: PathBuf| (path.clone(), text(&path));
    paths.into_iter().map(read).collect()
}

/// The document with its tables filled in.
fn filled(path: &Path, document: &str, makefile: &str) -> String {
    let mut document = document.to_owned();
    let tables = TABLES.iter().filter(|(_, file, _)| workspace(file) == path);
    let mut count = 0;
    for (name, file, make) in tables {
        let begin = format!("{BEGIN}{name} -->\n");
        let (before, rest) = document
            .split_once(&begin)
            .unwrap_or_else(|| panic!("{file} lacks {begin}"));
        let (_, after) = rest
            .split_once(END)
            .unwrap_or_else(|| panic!("the table `{name}` lacks {END}"));
        document = format!("{before}{begin}{}{END}{after}", make(makefile));
        count += 1;
    }
    assert_eq!(
        document.matches(BEGIN).count(),
        count,
        "{} has a table that nobody makes",
        path.display()
    );
    document
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
        [
            format!("`{}`", key.name),
            key.accepts.to_owned(),
            key.default.to_owned(),
            key.meaning.to_owned(),
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
        let error = Error::new(*code, Op::Open, "", "");
        [
            code.to_string(),
            code.meaning().to_owned(),
            hint(&error).to_owned(),
        ]
    });
    table(["code", "what happened", "what to do"], rows)
}

/// Where the object is that has these fields, from the document on.
fn place(row: &Row, inside: &Inside) -> String {
    match inside.object {
        "" => row.path.to_owned(),
        items if items.starts_with('[') => format!("{}{items}", row.path),
        object => format!("{}.{object}", row.path),
    }
}

fn fields(_: &str) -> String {
    let seed = text(&workspace(EVERY_FIELD));
    let document = json::check(seed.as_bytes()).unwrap();
    let kind = |path| match document.at(path).map(|value| value.node()) {
        Some(Node::Array(_)) => "a list",
        Some(Node::Object(_)) => "an object",
        Some(Node::Number(_)) => "a number",
        _ => "",
    };
    let done = |becomes| {
        let done = match becomes {
            Becomes::Acted => "acted on",
            Becomes::Warned => "ignored, with a warning",
            Becomes::Refused => "refused",
        };
        done.to_owned()
    };
    let path = |path: &str| format!("`{path}`");
    let rows = FIELDS.iter().flat_map(|row| {
        let takes = Some(row.takes()).filter(|takes| !takes.is_empty());
        let takes = takes.unwrap_or_else(|| kind(row.path)).to_owned();
        let mut rows = vec![[path(row.path), takes, done(row.becomes())]];
        for inside in row.inside {
            let refused = row
                .inside
                .iter()
                .filter(|other| other.object == inside.object && other.becomes != inside.becomes);
            let refused: Vec<_> = refused.flat_map(|other| other.members).collect();
            let is_other = inside.becomes == Becomes::Refused;
            let names = inside
                .members
                .iter()
                .filter(|name| is_other || !refused.contains(name));
            let names: Vec<_> = names.map(|name| path(name)).collect();
            let names = match inside.members {
                ["*"] => "members of any name".to_owned(),
                _ => names.join(", "),
            };
            match &mut rows[..] {
                [[_, takes, _]] if inside.object.is_empty() && !is_other => {
                    *takes += &format!(" with {names}")
                }
                _ => rows.push([path(&place(row, inside)), names, done(inside.becomes)]),
            }
        }
        rows
    });
    table(["field", "value", "what becomes of it"], rows)
}

/// A document that has each field: what the fuzz target of configurations begins with.
const EVERY_FIELD: &str = "tests/fuzz/seeds/config/every-field";
/// The names in that document, as libFuzzer takes them.
const DICTIONARY: &str = "tests/fuzz/dictionaries/config";

fn dictionary() -> String {
    let rows = FIELDS.iter().flat_map(|row| {
        let members = row.inside.iter().flat_map(|inside| inside.members);
        // The names of annotations have points in them.
        let (whole, paths): (Vec<_>, Vec<_>) = members.partition(|name| name.starts_with("berth."));
        let paths = paths.into_iter().chain([&row.path]);
        whole
            .into_iter()
            .copied()
            .chain(paths.flat_map(|path| path.split('.')))
    });
    let mut names: Vec<_> = rows.filter(|name| *name != "*").collect();
    names.sort_unstable();
    names.dedup();
    let lines = names.iter().map(|name| format!("\"\\\"{name}\\\"\"\n"));
    lines.collect()
}

#[test]
fn tables_for_fuzzing_are_those_of_the_code() {
    let path = workspace(DICTIONARY);
    if env::var_os("BERTH_WRITE_DOCS").is_some() {
        fs::write(&path, dictionary()).unwrap();
    }
    assert_eq!(text(&path), dictionary(), "`make docs` puts it right");
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
fn tables_are_those_of_the_code() {
    let makefile = text(&workspace("Makefile"));
    for (path, document) in documents() {
        let filled = filled(&path, &document, &makefile);
        if env::var_os("BERTH_WRITE_DOCS").is_some() {
            fs::write(&path, &filled).unwrap();
            continue;
        }
        for (is, should) in document.lines().zip(filled.lines()) {
            assert_eq!(is, should, "{}: `make docs` puts it right", path.display());
        }
        assert_eq!(document, filled, "`make docs` puts it right");
    }
}

/// What a document quotes, between backquotes or as a line of its own, and which begins with `make
/// `.
fn made(document: &str) -> impl Iterator<Item = &str> {
    let lines = document.lines().map(str::trim_start);
    let quoted = document
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2));
    lines
        .chain(quoted)
        .filter_map(|words| words.strip_prefix("make "))
}

#[test]
fn commands_are_in_the_makefile() {
    let makefile = text(&workspace("Makefile"));
    for (path, document) in documents() {
        for command in made(&document) {
            let target = command
                .split_whitespace()
                .find(|word| !word.contains('='))
                .unwrap_or("");
            assert!(
                targets(&makefile).any(|(name, _)| name == target),
                "{}: make {command}",
                path.display()
            );
        }
    }
    let readme = text(&workspace("README.md"));
    let shown: Vec<_> = made(&readme).collect();
    assert!(
        shown.starts_with(&["run", "qemu-test"]),
        "the README leads with the two commands"
    );
}

/// How GitHub names a heading in links: in lower case, without punctuation, spaces as hyphens.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|letter| match letter {
        ' ' | '-' => Some('-'),
        letter if letter.is_alphanumeric() || letter == '_' => letter.to_lowercase().next(),
        _ => None,
    });
    kept.collect()
}

#[test]
fn links_lead_somewhere() {
    let documents = documents();
    let mut seen = 0;
    for (path, document) in &documents {
        let links = document.split("](").skip(1);
        let links = links.filter_map(|rest| Some(rest.split_once(')')?.0));
        for link in links.filter(|link| !link.contains("://")) {
            let (file, section) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path
                    .parent()
                    .unwrap()
                    .join(file)
                    .canonicalize()
                    .unwrap_or_default(),
            };
            assert!(target.exists(), "{} leads to {link}", path.display());
            if !section.is_empty() {
                let text = text(&target);
                let headings = text.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#')));
                assert!(
                    anchors.any(|anchor| anchor == section),
                    "{} leads to {link}",
                    path.display()
                );
            }
            seen += 1;
        }
    }
    assert!(
        seen >= documents.len() - 1,
        "the README leads to every document"
    );
    let readme = text(&workspace("README.md"));
    for (path, _) in documents {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            name == "README.md" || readme.contains(&format!("](docs/{name})")),
            "the README does not lead to {name}"
        );
    }
}
