//! What berth costs, counted: `make bench`.
//!
//! The clock of a counted machine advances by one ns with each guest instruction (QEMU's `-icount
//! shift=0`), so that times in it are numbers of instructions, and repeat. The wall's clock is
//! looked at nowhere.
//!
//! * [`boot`]: from the kernel's start of `/init` to the first act of the next init, beside
//!   `tests/c/init.c`, which makes the needed system calls and nothing else.
//! * [`container`]: the start of a container, beside `tests/c/container.c`, likewise.
//! * [`compare`]: commands that start a container, berth among them, and `tests/c/compare.c`.
//! * [`reading`]: a `config.json`, beside `serde_json`. This one is counted by valgrind, without a
//!   machine.
//! * [`demo`]: the stages of a boot, and what PID 1 holds when it is idle.
//!
//! The figures go into the tables of `docs/figures.md`, when all of them are there.

mod boot;
mod c;
mod compare;
mod container;
mod demo;
mod document;
mod reading;
mod repeat;
mod table;
mod trace;

use anyhow::Result;
use berth_qemu::arch::Arch;
use berth_qemu::kernel;
use berth_tests::{berth, init};
use table::Table;

fn main() -> Result<()> {
    let kernel = kernel::default(Arch::X86_64)?;
    let init = init()?;
    let mut table = Table::new(&kernel.release);
    table.program(&init, "goal 208 KiB")?;
    table.program(&berth()?, "goal 312 KiB")?;
    boot::measure(&kernel, &init, &mut table)?;
    container::measure(&kernel, &init, &mut table)?;
    demo::measure(&kernel, &init, &mut table)?;
    reading::measure(&mut table)?;
    let beside_others = compare::measure(&kernel, &init)?;

    document::write(&[("berth", table.to_string()), ("others", beside_others)])?;
    Ok(())
}
