//! Link arguments for the programs only: in `.cargo/config.toml` they would reach the test programs
//! too.

use std::env;

/// What the linker is told, in its own words.
const LINKER: [&str; 3] = ["--build-id=none", "-znoexecstack", "-Tsrc/link.ld"];

/// What a C compiler is told besides, when it calls the linker.
const DRIVER: [&str; 4] = ["-nostartfiles", "-nostdlib", "-static", "-no-pie"];

/// Which commands have the flags that a build script cannot set.
const HOW: &str = "`cargo pid1` builds init and `cargo berth` builds berth";

fn main() {
    println!("cargo::rerun-if-env-changed=BERTH_FLAGS");
    // For another architecture the linker is called directly: it is one for all, a C compiler is
    // not.
    let is_native = env::var("HOST") == env::var("TARGET");
    if is_native {
        DRIVER.iter().for_each(|argument| link(argument));
        LINKER
            .iter()
            .for_each(|argument| link(&format!("-Wl,{argument}")));
    } else {
        ["-static", "-no-pie"]
            .iter()
            .for_each(|argument| link(argument));
        LINKER.iter().for_each(|argument| link(argument));
    }
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if is_native && is_release && env::var_os("BERTH_FLAGS").is_none() {
        println!("cargo::warning=these programs are larger than they need to be: {HOW}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/link.ld");
}

fn link(argument: &str) {
    println!("cargo::rustc-link-arg-bins={argument}");
}
