//! The start of a program's file: any bytes are a kind of program or a reason.
#![no_main]

use berth::parse::executable::Executable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|head: &[u8]| {
    let (Ok(Executable::Script { interpreter })
    | Ok(Executable::Elf {
        interpreter: Some(interpreter),
        ..
    })) = Executable::parse(head)
    else {
        return;
    };
    assert!(!interpreter.is_empty() && !interpreter.contains('\0'));
});
