//! Container engines in a whole Debian, with berth and with the runtime that they usually have: the
//! commands that tell most. `make qemu-engines` has all of them.

use anyhow::Result;
use berth_tests::{Engine, Lab, side_by_side};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    once podman_does_the_same_with_berth_as_root_and_as_a_user,
    once docker_does_the_same_with_berth,
];

fn podman_does_the_same_with_berth_as_root_and_as_a_user(_: &Lab) -> Result<()> {
    side_by_side(&[Engine::PODMAN, Engine::ROOTLESS], false)
}

fn docker_does_the_same_with_berth(_: &Lab) -> Result<()> {
    side_by_side(&[Engine::DOCKER], false)
}
