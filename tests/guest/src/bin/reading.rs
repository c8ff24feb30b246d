//! Reads a file over and over, for `make bench` to count: `reading berth|serde FILE TIMES`.

use std::env;
use std::fs;
use std::hint::black_box;

use anyhow::{Context, Result, bail};
use berth::parse::config::{Config, MOUNT_PLACES, MountPlace};

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [reader, file, times] = words.as_slice() else {
        bail!("reading berth|serde FILE TIMES");
    };
    let text = fs::read(file).with_context(|| format!("read {file}"))?;
    for _ in 0..times.parse::<usize>()? {
        match reader.as_str() {
            "berth" => by_berth(black_box(&text)),
            "serde" => by_serde(black_box(&text))?,
            other => bail!("nobody is called {other}"),
        }
    }
    Ok(())
}

fn by_berth(text: &[u8]) {
    let mut scratch = vec![0; text.len()];
    let mut places = [const { MountPlace::uninit() }; MOUNT_PLACES];
    // One that is refused was read, too.
    let read = Config::parse(text, &mut scratch, &mut places);
    black_box(&read);
}

/// To build the tree is what counts, not to give it back.
fn by_serde(text: &[u8]) -> Result<()> {
    let tree: serde_json::Value = serde_json::from_slice(text)?;
    std::mem::forget(black_box(tree));
    Ok(())
}
