//! The command line: any bytes give a plan or one line that says why not.
#![no_main]

use berth::parse::cmdline::Cmdline;
use berth::parse::mount_options::RootOptions;
use berth::plan::Plan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // What follows the first line feed is the image's defaults.
    let end = bytes.iter().position(|b| *b == b'\n');
    let (line, defaults) = bytes.split_at(end.unwrap_or(bytes.len()));
    match Plan::new(defaults, line) {
        Ok(plan) => {
            let named = usize::from(plan.root.is_some()) + plan.root_fallback.iter().count();
            assert_eq!(plan.roots().count(), named);
            assert!(plan.containers.starts_with('/'));
            if let Ok(options) = RootOptions::parse(plan.rootflags.unwrap_or_default()) {
                assert_eq!(options.flags.set & options.flags.clear, 0);
                assert!(options.data().all(|word| !word.is_empty()));
            }
            for parameter in plan.module_parameters("loop") {
                assert!(!parameter.to_string().contains('\0'));
            }
            assert_eq!(Plan::salvage(defaults, line).on_failure, plan.on_failure);
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
    // A word without quotes is written back as it was read.
    if let Ok(text) = Cmdline::new(line)
        && !line.contains(&b'"')
    {
        let read: Vec<_> = text.options().map(|word| word.to_string()).collect();
        let line = str::from_utf8(line).unwrap();
        let is_space = |c: char| c.is_ascii_whitespace() || c == '\x0b';
        let split = line.split(is_space).filter(|word| !word.is_empty());
        assert!(read.iter().eq(split.take_while(|word| *word != "--")));
    }
});
