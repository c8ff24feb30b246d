//! A container that writes until the power is cut, and says what the one before has left.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Result;

use crate::facts;

/// The file with the number that is on the disk.
const NUMBER: &str = "number";

/// How many digits it has: it is written in its place, and never longer or shorter.
const DIGITS: usize = 20;

/// How many other files there are.
const OTHERS: u64 = 12;

/// Prints the number that it finds, and then each higher one when that is on the disk; in between
/// it makes, changes, renames and removes other files, of which nothing need reach the disk. When
/// something cannot be written any more, it says so, and stays.
pub(crate) fn keep_writing(directory: &Path) -> Result<()> {
    let mut number = match found(directory) {
        Ok(number) => number,
        Err(error) => return give_up(&error),
    };
    println!("found {number}");
    loop {
        number += 1;
        let written = write_number(directory, number);
        if let Err(error) = written.and_then(|()| churn(directory, number)) {
            return give_up(&error);
        }
        println!("wrote {number}");
    }
}

fn give_up(error: &io::Error) -> Result<()> {
    println!("failed {}", facts::name_of(error));
    loop {
        std::thread::park();
    }
}

fn found(directory: &Path) -> io::Result<u64> {
    let path = directory.join(NUMBER);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let digits = text.trim_end_matches('\0').trim_start_matches('0');
            match digits.parse() {
                Ok(number) => Ok(number),
                // The file was made, and its content had not come by then.
                Err(_) if digits.is_empty() => Ok(0),
                Err(_) => Err(io::Error::other(format!("{text:?} is no number"))),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Returns when it is on the disk.
fn write_number(directory: &Path, number: u64) -> io::Result<()> {
    let path = directory.join(NUMBER);
    let is_new = !path.exists();
    let options = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let file = options?;
    file.write_all_at(format!("{number:0DIGITS$}").as_bytes(), 0)?;
    file.sync_all()?;
    if is_new {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// Something of everything that a filesystem does.
fn churn(directory: &Path, number: u64) -> io::Result<()> {
    let other = |number: u64| directory.join(format!("other-{}", number % OTHERS));
    let bytes = vec![number as u8; 1 + (number as usize * 7919) % (128 * 1024)];
    fs::write(directory.join("new"), &bytes)?;
    fs::rename(directory.join("new"), other(number))?;
    let mut options = OpenOptions::new();
    io::Write::write_all(
        &mut options.append(true).create(true).open(other(number + 3))?,
        b"more",
    )?;
    unless_missing(fs::remove_file(other(number + 5)))?;
    let nested = directory.join(format!("directory-{}", number % 3));
    unless_missing(fs::remove_dir_all(&nested))?;
    fs::create_dir(&nested)?;
    fs::write(
        nested.join("a longer name, of which vfat makes several entries"),
        &bytes[..1],
    )
}

fn unless_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
