//! `linux.seccomp`: containers whose programs make calls, and what becomes of these and of them.

use anyhow::{Context, Result, ensure};
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, disk};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere calls_get_the_fates_that_the_profile_gives_them,
    once user_without_rights_has_a_filter_too,
    once arguments_decide_where_a_rule_names_them,
    once profile_in_the_shape_of_dockers_lets_a_program_work,
    once killed_and_trapped_programs_end_by_sigsys,
    once trap_can_be_handled,
    once calls_of_other_architectures_do_not_pass_the_filter,
    once logged_calls_are_made_and_stand_in_the_log,
    once profile_that_cannot_be_had_is_refused_by_name,
    everywhere agent_on_the_host_answers_for_containers,
    once program_that_cannot_report_is_not_taken_for_one_that_runs,
    once machine_ends_with_the_failures_in_its_status,
];

static BOOT: Shared = Shared::new(boot);

/// SIGSYS, as a shell has it.
const SIGSYS: i64 = 31;

fn filtered(id: &str, profile: Value) -> Bundle {
    Bundle::new(id).set("/linux/seccomp", profile)
}

/// All that is not named is allowed.
fn all_but(rules: Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules })
}

fn fails(names: &[&str]) -> Value {
    json!({ "names": names, "action": "SCMP_ACT_ERRNO" })
}

fn calls(bundle: Bundle, calls: &[&str]) -> Bundle {
    let words = ["/bin/guest", "call"].iter().chain(calls).copied();
    bundle.runs(words)
}

/// Where the agent listens, on the host.
const AGENT: &str = "/run/agent";

/// A container that is started when the agent is there, and has it asked about these calls.
fn asking(id: &str, names: &[&str]) -> Bundle {
    let mut profile = all_but(json!([{ "names": names, "action": "SCMP_ACT_NOTIFY" }]));
    profile["listenerPath"] = json!(AGENT);
    profile["listenerMetadata"] = json!("of \"VM\"");
    filtered(id, profile)
        .annotation("berth.after", "agent")
        .annotation("org.example.note", "as-written")
        .mount("/tmp", "tmpfs", "tmpfs", &["mode=1777"])
        .runs(["/bin/guest", "make-directories", "/tmp"])
}

/// A container with a hook that leaves the agent behind.
fn with_agent() -> Bundle {
    let args = json!(["guest", "hook-agent", AGENT]);
    let hook = json!({ "path": "/containers/say/rootfs/bin/guest", "args": args });
    Bundle::new("agent").set("/hooks", json!({ "createRuntime": [hook] }))
}

/// What a static program of Rust, and the check itself, ask for.
const NEEDED: &[&str] = &[
    "execve",
    "exit_group",
    "exit",
    "brk",
    "arch_prctl",
    "set_tid_address",
    "set_robust_list",
    "rseq",
    "prlimit64",
    "readlinkat",
    "readlink",
    "getrandom",
    "mprotect",
    "mmap",
    "munmap",
    "mremap",
    "poll",
    "ppoll",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "openat",
    "open",
    "read",
    "write",
    "writev",
    "close",
    "fstat",
    "lseek",
    "newfstatat",
    "statx",
    "fcntl",
    "ioctl",
    "sched_getaffinity",
    "gettid",
    "getpid",
    "futex",
    "madvise",
    "uname",
    "getuid",
    "umask",
];

fn bundles() -> Vec<Bundle> {
    let arg = |index: u32, op: &str, value: u64, two: u64| json!({ "index": index, "op": format!("SCMP_CMP_{op}"), "value": value, "valueTwo": two });
    let denied = |name: &str, args: Value| json!({ "names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 95, "args": args });
    let allowed = |names: &[&str], args: Value| json!({ "names": names, "action": "SCMP_ACT_ALLOW", "args": args });
    let kills = |action: &str| all_but(json!([{ "names": ["getppid"], "action": action }]));
    vec![
        calls(
            filtered(
                "list",
                json!({
                    "defaultAction": "SCMP_ACT_ERRNO",
                    "defaultErrnoRet": 1,
                    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
                    "flags": [
                        "SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                    ],
                    "syscalls": [
                        allowed(NEEDED, json!([])),
                        { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97 },
                        { "names": ["unshare"], "action": "SCMP_ACT_TRACE" },
                        allowed(&["pidfd_open", "no_such_call"], json!([])),
                    ],
                }),
            ),
            &[
                "getuid",
                "getppid",
                "socket:2,1,0",
                "unshare:0",
                "pidfd_open:1,0",
                "listxattrat",
            ],
        ),
        calls(
            filtered(
                "arguments",
                all_but(json!([
                    // Together, and each with half of a number.
                    denied("socket", json!([arg(0, "EQ", 16, 0), arg(2, "GE", 9, 0)])),
                    denied("socket", json!([arg(0, "EQ", 2, 0), arg(1, "NE", 1, 0)])),
                    denied("personality", json!([arg(0, "EQ", 0x1_0000_0000, 0)])),
                    denied(
                        "unshare",
                        json!([arg(0, "MASKED_EQ", 0x1000_0000, 0x1000_0000)])
                    ),
                    // One argument twice: either.
                    denied(
                        "umask",
                        json!([arg(0, "LT", 0o22, 0), arg(0, "GT", 0o77, 0)])
                    ),
                ])),
            ),
            &[
                "socket:16,3,0",
                "socket:16,3,9",
                "socket:16,3,15",
                "socket:1,3,15",
                "socket:2,1,0",
                "socket:2,2,0",
                "personality:0",
                "personality:0x100000000",
                "personality:0x100000008",
                "unshare:0",
                "unshare:0x10000000",
                "unshare:0x10020000",
                "unshare:0x20000",
                "umask:17",
                "umask:18",
                "umask:63",
                "umask:64",
            ],
        ),
        calls(
            filtered("docker", like_docker()),
            &[
                "getuid",
                "getppid",
                "socket:1,1,0",
                "socket:40,1,0",
                "personality:0",
                "personality:0x20000",
                "personality:0x40000",
                "unshare:0",
            ],
        ),
        calls(
            filtered("killed", kills("SCMP_ACT_KILL_PROCESS")),
            &["getuid", "getppid", "getuid"],
        ),
        calls(filtered("thread", kills("SCMP_ACT_KILL")), &["getppid"]),
        calls(filtered("trapped", kills("SCMP_ACT_TRAP")), &["getppid"]),
        filtered("handled", kills("SCMP_ACT_TRAP")).runs([
            "/bin/guest",
            "trap",
            "getppid",
            "getuid",
        ]),
        calls(filtered("logged", kills("SCMP_ACT_LOG")), &["getppid"]),
        // Whom it confines could not install it.
        calls(
            filtered("of-a-user", all_but(json!([fails(&["getppid"])])))
                .set("/process/user", json!({ "uid": 1000, "gid": 1000 })),
            &["getppid", "getuid", "unshare:0x20000"],
        ),
        calls(
            filtered("x32", all_but(json!([]))),
            &["getppid", "x32-getppid"],
        ),
        calls(
            filtered("i386", all_but(json!([]))),
            &["getppid", "i386-getppid"],
        ),
        with_agent(),
        asking("asked", &["mkdir"]),
        // The filter is installed before its user is become.
        asking("asked-user", &["mkdir"]).set("/process/user", json!({ "uid": 1000, "gid": 1000 })),
        asking("asked-nnp", &["mkdir"]).set("/process/noNewPrivileges", json!(true)),
        calls(
            Bundle::new("free"),
            &["getppid", "i386-getppid", "unshare:0x10000000"],
        ),
    ]
}

/// Nearly all calls by name, more rules for one call, a hundred names that are none here.
fn like_docker() -> Value {
    let of_others: Vec<_> = (0..100)
        .map(|number| format!("of_another_machine_{number}"))
        .collect();
    let one =
        |index: u32, op: &str, value: u64| json!([{ "index": index, "op": op, "value": value }]);
    let persona = |value: u64| json!({ "names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": one(0, "SCMP_CMP_EQ", value) });
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            { "names": NEEDED, "action": "SCMP_ACT_ALLOW" },
            { "names": of_others, "action": "SCMP_ACT_ALLOW" },
            { "names": ["getppid", "_llseek", "stat64"], "action": "SCMP_ACT_ALLOW" },
            persona(0), persona(8), persona(0x20000), persona(0x20008), persona(0xffff_ffff),
            { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": one(0, "SCMP_CMP_NE", 40) },
            { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
        ],
    })
}

/// A file that may be executed, and is no program: only the kernel finds that out.
const UNFIT: &str = "/bin/unfit";

/// A container that does not start, the code, and what the report says.
fn failing() -> Vec<(Bundle, &'static str, &'static str)> {
    let argument = |argument: Value| {
        let rule = json!({ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [argument] });
        all_but(json!([rule]))
    };
    let rules: Vec<_> = (0..300u64)
        .map(|pid| {
            let args = json!([{ "index": 0, "value": pid << 8, "op": "SCMP_CMP_EQ" }]);
            json!({ "names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": args })
        })
        .collect();
    let missing = |id, profile| filtered(id, profile).runs(["/bin/missing"]);
    let unfit = |id, profile| filtered(id, profile).runs([UNFIT]);
    let only_execve = |default: &str| json!({ "defaultAction": default, "syscalls": [{ "names": ["execve"], "action": "SCMP_ACT_ALLOW" }] });
    let as_user = |bundle: Bundle| bundle.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    const SILENT: &str = "the process ended before that, and could not say why";
    vec![
        (
            filtered("no-action", json!({ "defaultAction": "SCMP_ACT_DENY" })),
            "B051",
            "linux.seccomp.defaultAction is \"SCMP_ACT_DENY\"",
        ),
        (
            filtered(
                "all-asked",
                json!({ "defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": AGENT }),
            ),
            "B052",
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY here would have the agent asked about the calls by which it is told",
        ),
        (
            asking("no-agent", &["mkdir"]).set("/linux/seccomp/listenerPath", json!("/run/nobody")),
            "B053",
            "open socket for the agent at /run/nobody for no-agent: ENOENT",
        ),
        (
            asking("not-told", &["mkdir", "sendmsg"]).annotation("berth.after", "agent"),
            "B053",
            "linux.seccomp, which does not always allow sendmsg and close, by which its agent is told for not-told: EPERM",
        ),
        (
            filtered(
                "no-operator",
                argument(json!({ "index": 0, "value": 1, "op": "SCMP_CMP_IS" })),
            ),
            "B051",
            "linux.seccomp.syscalls[0].args[].op is \"SCMP_CMP_IS\"",
        ),
        (
            filtered(
                "no-argument",
                argument(json!({ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" })),
            ),
            "B051",
            "linux.seccomp.syscalls[0].args[].index is \"6\"; it takes 0 to 5",
        ),
        (
            filtered(
                "no-number",
                argument(json!({ "index": 0, "value": "1", "op": "SCMP_CMP_EQ" })),
            ),
            "B051",
            "linux.seccomp.syscalls[0].args[].value is not a number",
        ),
        (
            filtered("too-many", all_but(json!(rules))),
            "B053",
            "linux.seccomp, which takes more than the kernel's 4096 instructions for too-many: E2BIG",
        ),
        (
            filtered("no-execve", all_but(json!([fails(&["execve"])]))),
            "B053",
            "linux.seccomp, which denies execve, by which the program starts for no-execve: EPERM",
        ),
        // It is installed before the user changes. Who asked for no groups would have those of whom
        // starts it.
        (
            as_user(filtered("groups", all_but(json!([fails(&["setgroups"])])))),
            "B053",
            "set additional groups for groups: EPERM",
        ),
        (
            missing("missing", only_execve("SCMP_ACT_LOG")),
            "B054",
            "execute /bin/missing for missing: ENOENT",
        ),
        (
            unfit("mute", all_but(json!([fails(&["write"])]))),
            "B053",
            SILENT,
        ),
        (
            unfit("stuck", only_execve("SCMP_ACT_ERRNO")),
            "B053",
            SILENT,
        ),
        (
            unfit("shot", only_execve("SCMP_ACT_KILL_PROCESS")),
            "B053",
            SILENT,
        ),
    ]
}

/// All share the rootfs of one, so that the disk stays small.
fn boot(lab: &Lab) -> Result<Outcome> {
    let all: Vec<_> = bundles()
        .into_iter()
        .chain(failing().into_iter().map(|(bundle, ..)| bundle))
        .collect();
    let tree = disk::files([Bundle::new("say")])?;
    let tree = tree.executable(format!("containers/say/rootfs{UNFIT}"), b"no program");
    let tree = all.into_iter().fold(tree, |tree, bundle| {
        let id = bundle.id().to_owned();
        let bundle = bundle.set("/root/path", json!("/containers/say/rootfs"));
        tree.file(format!("containers/{id}/config.json"), bundle.config())
    });
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(128))?;
    Ok(lab
        .machine("seccomp")?
        // What the kernel logs of filters is a notice, and there are many: more than the ten in
        // five seconds that it allows.
        .append("root=/dev/vda1 loglevel=6 sysctl.kernel.printk_ratelimit=0")
        .blk(&root)
        .start()?
        .wait()?)
}

/// Holds the container to these answers, in this order.
fn answered(seen: Seen<'_>, expected: &[&str]) -> Result<()> {
    let found = seen.facts("call");
    ensure!(found == expected, "{found:#?}, {:?}", seen.lines().last());
    Ok(())
}

fn calls_get_the_fates_that_the_profile_gives_them(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let list = Seen::new(&outcome, "list");
    answered(
        list,
        &[
            "getuid is made",
            "getppid EPERM",
            "socket:2,1,0 EAFNOSUPPORT",
            // There is no tracer.
            "unshare:0 ENOSYS",
            "pidfd_open:1,0 is made",
            // Of Linux 6.13, and newer than all that the profile names.
            "listxattrat ENOSYS",
        ],
    )?;
    list.printed("seccomp 2")?;
    list.exited(0)?;
    Seen::new(&outcome, "free").printed("seccomp 0")
}

/// Who is not root, and may gain rights by what he executes, cannot install a filter (seccomp(2),
/// `EACCES`).
fn user_without_rights_has_a_filter_too(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let user = Seen::new(&outcome, "of-a-user");
    let expected = [
        "getppid EPERM",
        "getuid is made",
        // The kernel's own answer: he has no CAP_SYS_ADMIN.
        "unshare:0x20000 EPERM",
    ];
    answered(user, &expected)?;
    user.printed("seccomp 2")?;
    user.printed("no_new_privs 0")?;
    user.exited(0)
}

fn arguments_decide_where_a_rule_names_them(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    answered(
        Seen::new(&outcome, "arguments"),
        &[
            "socket:16,3,0 is made",
            "socket:16,3,9 EOPNOTSUPP",
            "socket:16,3,15 EOPNOTSUPP",
            // The kernel's own answer: EPROTONOSUPPORT.
            "socket:1,3,15 errno 93",
            "socket:2,1,0 is made",
            "socket:2,2,0 EOPNOTSUPP",
            "personality:0 is made",
            "personality:0x100000000 EOPNOTSUPP",
            "personality:0x100000008 is made",
            "unshare:0 is made",
            "unshare:0x10000000 EOPNOTSUPP",
            "unshare:0x10020000 EOPNOTSUPP",
            "unshare:0x20000 is made",
            "umask:17 EOPNOTSUPP",
            "umask:18 is made",
            "umask:63 is made",
            "umask:64 EOPNOTSUPP",
        ],
    )
}

fn profile_in_the_shape_of_dockers_lets_a_program_work(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let docker = Seen::new(&outcome, "docker");
    answered(
        docker,
        &[
            "getuid is made",
            "getppid is made",
            "socket:1,1,0 is made",
            "socket:40,1,0 EPERM",
            "personality:0 is made",
            "personality:0x20000 is made",
            "personality:0x40000 EPERM",
            "unshare:0 EPERM",
        ],
    )?;
    docker.exited(0)?;
    let warning = "docker: linux.seccomp.architectures besides this machine's is not supported yet";
    ensure!(
        outcome.console.contains(warning),
        "there is no warning of i386"
    );
    Ok(())
}

/// Holds the container to having been ended by SIGSYS.
fn ended_by_sigsys(seen: Seen<'_>) -> Result<()> {
    let exited = seen.state("exited").map(|event| &event.raw);
    let signal = exited.and_then(|event| event["signal"].as_i64());
    ensure!(
        signal == Some(SIGSYS),
        "{exited:?}, {:?}",
        seen.lines().last()
    );
    Ok(())
}

fn killed_and_trapped_programs_end_by_sigsys(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let killed = Seen::new(&outcome, "killed");
    answered(killed, &["getuid is made"])?;
    ["killed", "thread", "trapped"]
        .into_iter()
        .try_for_each(|id| ended_by_sigsys(Seen::new(&outcome, id)))
}

fn trap_can_be_handled(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let handled = Seen::new(&outcome, "handled");
    // getppid(2) is number 110 of x86_64.
    handled.printed("caught 110")?;
    handled.printed("call getuid is made")?;
    handled.exited(0)
}

fn calls_of_other_architectures_do_not_pass_the_filter(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in ["x32", "i386"] {
        let seen = Seen::new(&outcome, id);
        answered(seen, &["getppid is made"])?;
        ended_by_sigsys(seen)?;
    }
    // Without a filter this kernel makes them.
    Seen::new(&outcome, "free").printed("call i386-getppid answers 0")
}

fn logged_calls_are_made_and_stand_in_the_log(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    let logged = Seen::new(&outcome, "logged");
    answered(logged, &["getppid is made"])?;
    let line = outcome
        .console
        .lines()
        .find(|line| line.contains("syscall=110") && line.contains("code=0x7ffc0000"));
    line.context("the kernel has logged no getppid").map(drop)
}

fn refused(outcome: &Outcome, texts: &[&str]) -> Result<()> {
    for (bundle, code, text) in failing()
        .into_iter()
        .filter(|(bundle, ..)| texts.contains(&bundle.id()))
    {
        Seen::new(outcome, bundle.id()).failed(code, text)?;
    }
    Ok(())
}

fn profile_that_cannot_be_had_is_refused_by_name(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    refused(
        &outcome,
        &[
            "no-action",
            "all-asked",
            "no-agent",
            "not-told",
            "no-operator",
            "no-argument",
            "no-number",
            "too-many",
            "no-execve",
            "groups",
        ],
    )
}

/// It is told of PID 1's containers as it is of a command's, where the cases are that ask more.
fn agent_on_the_host_answers_for_containers(lab: &Lab) -> Result<()> {
    let outcome = BOOT.outcome(lab)?;
    for id in ["asked", "asked-user", "asked-nnp"] {
        let seen = Seen::new(&outcome, id);
        let heard = [
            "/tmp/0 is made, there false",
            "/tmp/1 ENOMEDIUM, there false",
            "/tmp/2 is made, there true",
        ];
        let found = seen.facts("directory");
        ensure!(found == heard, "{id}: {found:?}");
        // The standard ones: neither the agent's nor the connection to it.
        seen.printed("descriptors 3")?;
        seen.exited(0)?;
        let told = format!(
            r#"agent is told of its first true: {{"fds":["seccompFd"],"metadata":"of \"VM\"","ociVersion":"1.3.0","pid":PID,"state":{{"annotations":{{"berth.after":"agent","berth.privileged":"true","org.example.note":"as-written"}},"bundle":"/containers/{id}","id":"{id}","ociVersion":"1.3.0","pid":PID,"status":"creating"}}}}"#
        );
        let started = seen.state("started").map(|event| &event.raw["pid"]);
        let pid = started.with_context(|| format!("{id} was not started"))?;
        let told = told.replace("PID", &pid.to_string());
        ensure!(outcome.console.contains(&told), "not logged: {told}");
    }
    Ok(())
}

/// Its filter lets it execute a program, which is none or not there, and keeps it from saying so.
fn program_that_cannot_report_is_not_taken_for_one_that_runs(lab: &Lab) -> Result<()> {
    refused(&*BOOT.outcome(lab)?, &["missing", "mute", "stuck", "shot"])
}

fn machine_ends_with_the_failures_in_its_status(lab: &Lab) -> Result<()> {
    Ok(BOOT.outcome(lab)?.assert(Ended::PowerOff, 125)?)
}
