//! depmod's indexes: every order ends, lists a file once, and has what it was asked for.
#![no_main]

use berth::parse::modules::{Alias, Builtin, Dep, Indexes, Outcome, Softdep, Wanted, module_name};
use heapless::Vec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Wanted::new(bytes);
    // The files are behind each other, with NUL between, which none of them may hold.
    let mut files = bytes.split(|b| *b == 0);
    let mut file = || files.next().unwrap_or_default();
    let (Ok(dep), Ok(softdep), Ok(alias), Ok(builtin)) = (
        Dep::new(file()),
        Softdep::new(file()),
        Alias::new(file()),
        Builtin::new(file()),
    ) else {
        return;
    };
    let indexes = Indexes {
        dep,
        softdep,
        alias,
        builtin,
    };
    for entry in dep.entries().take(8) {
        let mut order: Vec<&str, 64> = Vec::new();
        if let Ok(outcome) = indexes.load_order(module_name(entry.path), &mut order) {
            assert_eq!(outcome, Outcome::Listed);
            let mut once = order.to_vec();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), order.len());
        }
    }
});
