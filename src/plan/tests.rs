//! The grammar, word by word.

use super::*;

fn plan(cmdline: &str) -> Result<Plan<'_>, String> {
    Plan::new(b"", cmdline.as_bytes()).map_err(|e| e.to_string())
}

fn refusal(cmdline: &str) -> String {
    plan(cmdline).unwrap_err()
}

#[test]
fn an_empty_line_asks_for_the_documented_defaults() {
    let plan = plan("").unwrap();
    assert_eq!(plan.root, None);
    assert_eq!(plan.access, None);
    assert_eq!(plan.rootwait.limit(), Some(Duration::from_secs(10)));
    assert_eq!(plan.containers, "/containers");
    assert_eq!(plan.on_failure, OnFailure::Reboot);
    assert_eq!(plan.on_idle, OnIdle::PowerOff);
}

#[test]
fn every_supported_key_reaches_its_field() {
    let line = "root=LABEL=\"my disk\" rootfstype=vfat,ext4 rootflags=umask=077 ro rootwait=5 \
                rootdelay=2 init=/sbin/init loglevel=7 panic=-1 berth.modules=a,b-c \
                berth.containers=/c berth.on_failure=panic berth.on_idle=wait \
                berth.events=/dev/ttyS1 berth.break=switch-root -- single \"a b\"";
    let plan = plan(line).unwrap();
    assert_eq!(plan.root, Some(DeviceRef::Label("my disk")));
    assert_eq!(plan.rootfstype.to_string(), "vfat,ext4");
    assert_eq!(plan.rootflags, Some("umask=077"));
    assert_eq!(plan.access, Some(Access::ReadOnly));
    assert_eq!(plan.rootwait, RootWait::Seconds(5));
    assert_eq!(plan.rootdelay, Duration::from_secs(2));
    assert_eq!(plan.init, Some("/sbin/init"));
    assert_eq!(plan.loglevel, Some(7));
    assert_eq!(plan.panic_timeout, Some(-1));
    assert_eq!(plan.modules.iter().collect::<Vec<_>>(), ["a", "b-c"]);
    assert_eq!(plan.containers, "/c");
    assert_eq!(plan.on_failure, OnFailure::Panic);
    assert_eq!(plan.on_idle, OnIdle::Wait);
    assert_eq!(plan.events, Some("/dev/ttyS1"));
    assert_eq!(plan.break_at, Some(BreakAt::SwitchRoot));
    let args: Vec<_> = plan.init_args.map(|word| word.to_string()).collect();
    assert_eq!(args, ["single", "a b"]);
}

#[test]
fn the_last_word_wins_and_the_command_line_overrides_the_defaults() {
    assert_eq!(plan("ro rw").unwrap().access, Some(Access::Writable));
    assert_eq!(plan("loglevel=7 quiet").unwrap().loglevel, Some(QUIET));
    assert!(plan("loglevel=7 quiet").unwrap().quiet);
    assert!(!plan("quiet loglevel=4").unwrap().quiet);
    assert_eq!(plan("quiet loglevel=7").unwrap().loglevel, Some(7));
    assert_eq!(plan("rootwait=1 rootwait").unwrap().rootwait.limit(), None);
    let plan = Plan::new(b"ro berth.on_idle=wait -- a\n", b"berth.on-idle=halt").unwrap();
    assert_eq!(plan.access, Some(Access::ReadOnly));
    assert_eq!(plan.on_idle, OnIdle::Halt);
    assert_eq!(plan.init_args.count(), 1);
}

#[test]
fn words_that_nobody_knew_are_for_the_next_init() {
    // What the kernel starts `/init` with: the words it does not know, those before `init=` left
    // out, and those behind `--`.
    let line = "auto init=/i single ro 3 fruit=apple -- x \"y z\" -- rw";
    for (line, given, expected) in [
        (
            line,
            vec!["single", "ro", "3", "x", "y z"],
            vec!["single", "3"],
        ),
        ("init=/i -- ro", vec!["ro"], vec![]),
        ("init=/i a", vec!["a"], vec!["a"]),
        ("init=/i a -- b c", vec!["other"], vec![]),
    ] {
        let plan = plan(line).unwrap();
        let words = plan.unknown_words(given.into_iter());
        assert_eq!(words.collect::<Vec<_>>(), expected, "{line}");
    }
    // Linux 6.1 knows `rootwait` without a value alone.
    assert!(is_for_this_program("rootwait=5"));
    for word in ["fruit=apple", "rooted=1", "single", "HOME=/"] {
        assert!(!is_for_this_program(word), "{word}");
    }
}

#[test]
fn keys_of_others_are_ignored() {
    assert!(plan("console=ttyS0 systemd.unit=x nokaslr root.x=1 rootx").is_ok());
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_and_all_known_keys() {
    assert_eq!(
        refusal("berth.on_fail=halt"),
        "command line: there is no key berth.on_fail, perhaps berth.on_failure; known are \
         berth.modules, berth.overlay, berth.fsck, berth.root_fallback, berth.verity, berth.automount, \
         berth.log, berth.watchdog, berth.containers, berth.on_failure, berth.on_idle, \
         berth.events, berth.break"
    );
    assert!(
        refusal("berth.colour").starts_with("command line: there is no key berth.colour; known")
    );
}

#[test]
fn a_refused_value_is_answered_with_key_value_and_what_is_accepted() {
    let table = [
        (
            "berth.on_failure=explode",
            "berth.on_failure=explode is refused; berth.on_failure takes poweroff, reboot, halt, panic or shell",
        ),
        (
            "berth.on_idle",
            "berth.on_idle needs a value: poweroff, reboot, halt, kexec or wait",
        ),
        ("ro=1", "ro=1 is refused; ro takes no value"),
        (
            "rootwait=+5",
            "rootwait=+5 is refused; rootwait takes no value (for ever), or seconds, 0 to 4294967295",
        ),
        (
            "rootwait=",
            "rootwait= is refused; rootwait takes no value (for ever), or seconds, 0 to 4294967295",
        ),
        ("init=sh", "init=sh is refused; init takes an absolute path"),
        (
            "loglevel=16",
            "loglevel=16 is refused; loglevel takes 0 to 15",
        ),
        (
            "rootfstype=a,,b",
            "rootfstype=a,,b is refused; rootfstype takes a filesystem type, or a comma list of them",
        ),
        (
            "berth.modules=../x",
            "berth.modules=../x is refused; berth.modules takes module names, a comma list",
        ),
        (
            "berth.watchdog=0",
            "berth.watchdog=0 is refused; berth.watchdog takes seconds, 1 to 4294967295",
        ),
    ];
    for (line, text) in table {
        assert_eq!(refusal(line), format!("command line: {text}"));
    }
    assert!(
        refusal("root=sdb1")
            .starts_with("command line: root=sdb1 is refused; root takes /dev/NAME, UUID=")
    );
    let error = Plan::new(b"panic=x", b"panic=1").unwrap_err().to_string();
    assert!(error.starts_with("/etc/berth/cmdline: panic=x is refused"));
}

#[test]
fn fallbacks_come_after_the_root() {
    let plan = plan("berth.root_fallback=/dev/sda1,LABEL=x root=8:1").unwrap();
    let expected = [
        DeviceRef::Number { major: 8, minor: 1 },
        DeviceRef::Path("/dev/sda1"),
        DeviceRef::Label("x"),
    ];
    assert_eq!(plan.roots().collect::<Vec<_>>(), expected);
    let bad = "berth.root_fallback=LABEL=x,sda1";
    assert!(refusal(bad).contains("is refused"), "{bad}");
}

#[test]
fn a_broken_line_keeps_what_it_says_about_failures() {
    let line = b"root=nonsense berth.on_failure=panic berth.x panic=3";
    assert!(Plan::new(b"", line).is_err());
    let plan = Plan::salvage(b"", line);
    assert_eq!(plan.on_failure, OnFailure::Panic);
    assert_eq!(plan.panic_timeout, Some(3));
    assert_eq!(Plan::salvage(b"\xff", b"\0").on_failure, OnFailure::Reboot);
}

#[test]
fn every_row_of_the_table_is_complete_and_found_by_its_name() {
    for key in KEYS {
        assert!(
            core::ptr::eq(find(key.name).unwrap(), key),
            "{} twice",
            key.name
        );
        assert!(
            ![key.accepts, key.default, key.meaning].contains(&""),
            "{}",
            key.name
        );
    }
}
