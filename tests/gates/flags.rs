//! The flags of the two programs: `.cargo/config.toml` has them, the same for both, and a build
//! without them says where they are.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::binary::PROGRAMS;

/// The aliases that build the programs, in the order of [`PROGRAMS`].
const ALIASES: [&str; PROGRAMS.len()] = ["pid1", "berth"];

/// What an alias tells the build script.
const VARIABLE: &str = "BERTH_FLAGS";

/// Holds the aliases and the build script to each other.
pub(crate) fn check(workspace: &Path) -> Result<()> {
    let path = workspace.join(".cargo/config.toml");
    let config = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let flags = flags(&config)?;
    let directory = tempfile::tempdir()?;
    let script = directory.path().join("build");
    let compiler = Command::new("rustc")
        .args(["--edition", "2024", "-o"])
        .args([&script, &workspace.join("build.rs")])
        .output()
        .context("start rustc")?;
    ensure!(compiler.status.success(), "{compiler:?}");
    let warns = |profile: &str, has_flags: bool| -> Result<bool> {
        let mut command = Command::new(&script);
        command.env_remove(VARIABLE).envs([
            ("HOST", "here"),
            ("TARGET", "here"),
            ("PROFILE", profile),
        ]);
        if has_flags {
            command.env(VARIABLE, "small");
        }
        let output = command.output().context("start the build script")?;
        let text = String::from_utf8(output.stdout)?;
        let mut warnings = text
            .lines()
            .filter(|line| line.starts_with("cargo::warning="));
        let names_all = |line: &str| {
            let mut aliases = ALIASES.iter();
            aliases.all(|alias| line.contains(&format!("`cargo {alias}`")))
        };
        Ok(warnings.any(names_all))
    };
    ensure!(
        warns("release", false)?,
        "`cargo build --release` does not say which commands build the small programs"
    );
    ensure!(
        !warns("release", true)? && !warns("debug", false)?,
        "a build is warned of flags that it has, or does not need"
    );
    println!("flags: both programs have {flags}; a build without them says how");
    Ok(())
}

/// What both programs are built with.
fn flags(config: &str) -> Result<String> {
    let mut all = ALIASES.iter().zip(&PROGRAMS).map(|(alias, program)| {
        let (_, rest) = config
            .split_once(&format!("\n{alias} = ["))
            .with_context(|| format!("there is no alias {alias}"))?;
        let (words, _) = rest.split_once(']').context("a list has no end")?;
        let words: Vec<_> = words
            .split(',')
            .map(|word| word.trim().trim_matches('"'))
            .collect();
        let of_variable = format!("env.{VARIABLE}='small'");
        ensure!(
            words.contains(&program.name) && words.contains(&of_variable.as_str()),
            "the alias {alias} does not build {} with {VARIABLE}",
            program.name
        );
        let flags = words.into_iter().filter(|word| word.starts_with("-C"));
        Ok(flags.collect::<Vec<_>>().join(" "))
    });
    let first = all.next().context("there are no programs")??;
    for other in all {
        let other = other?;
        ensure!(first == other, "one program has {first}, the other {other}");
    }
    ensure!(!first.is_empty(), "the programs have no flags");
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
pid1 = ["rustc", "--bin", "init", "--config", "env.BERTH_FLAGS='small'", "--", "-Ca", "-Cb"]
berth = ["rustc", "--bin", "berth", "--config", "env.BERTH_FLAGS='small'", "--", "-Ca", "-Cb"]
"#;

    #[test]
    fn flags_that_differ_or_are_not_told_are_found() {
        assert_eq!(flags(CONFIG).unwrap(), "-Ca -Cb");
        for (from, to) in [
            ("-Cb\"]\nberth", "-Cc\"]\nberth"),
            ("BERTH_FLAGS", "BERTH"),
            ("\"init\"", "\"berth\""),
            ("pid1", "pid"),
        ] {
            let changed = CONFIG.replacen(from, to, 1);
            assert!(flags(&changed).is_err(), "{changed}");
        }
    }
}
