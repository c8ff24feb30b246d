//! The questions at the end of sharedsubtree.rst, with the answers that kernels give. A directory
//! stands for each that the questions name.

use std::fs;

use anyhow::{Result, ensure};
use berth::parse::mount_options::Propagation;

use super::shape::{expect, place};
use super::stage::{Way, is_mounted};
use super::{Case, cases};

pub(super) fn cases() -> Vec<Case> {
    cases!["quiz": both "A" move_into_the_peer, both "B" tree_in_itself, both "C" past_a_narrow_mount]
}

/// `mnt`, `mnt/e` and `mnt/e/e` are the same: the moved mount receives itself. It ends there.
fn move_into_the_peer(way: Way) -> Result<()> {
    way.fresh("mnt")?.set(Propagation::Shared, false)?;
    way.bind("mnt", "tmp", false)?.move_to("mnt/e")?;
    let places = [
        place('A', "mnt", "mnt/d/x"),
        place('B', "mnt/e", "mnt/e/d/x"),
        place('C', "mnt/e/e", "mnt/e/e/d/x"),
        place('D', "mnt/e/e/e", "mnt/e/e/e/d/x"),
    ];
    expect(&places, "A=B=C")
}

/// `v/1/v/1` is an empty directory: what is bound is what was there before.
fn tree_in_itself(way: Way) -> Result<()> {
    way.fresh("root")?.set(Propagation::Shared, true)?;
    fs::create_dir_all("root/v/1")?;
    way.bind("root", "root/v/1", true)?;
    ensure!(is_mounted("root/v/1")?);
    ensure!(!is_mounted("root/v/1/v/1")?);
    ensure!(fs::read_dir("root/v/1/v/1")?.next().is_none());
    Ok(())
}

/// A is the master of B and B of C. What is mounted in A outside of the directory that B shows does
/// not reach B, but C.
fn past_a_narrow_mount(way: Way) -> Result<()> {
    let mnt = way.fresh("mnt")?;
    mnt.set(Propagation::Shared, false)?;
    fs::create_dir_all("mnt/1/2/3")?;
    fs::create_dir_all("mnt/1/test")?;
    way.bind("mnt/1", "tmp", false)?;
    mnt.set(Propagation::Slave, false)?;
    mnt.set(Propagation::Shared, false)?;
    way.bind("mnt/1/2", "tmp1", false)?;
    mnt.set(Propagation::Slave, false)?;
    let places = [
        place('A', "tmp", "tmp/2/3"),
        place('B', "tmp1", "tmp1/3"),
        place('C', "mnt", "mnt/1/2/3"),
    ];
    expect(&places, "A>B>C")?;
    way.fresh("tmp/test")?;
    ensure!(is_mounted("mnt/1/test")?);
    ensure!(!fs::exists("tmp1/test")?);
    Ok(())
}
