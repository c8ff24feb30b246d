//! The commands that are compared, and their words.

use serde_json::{Value, json};

use super::bundle::{CAPABILITIES, HOSTNAME, PROGRAM, ROOTFS, VOLUMES, inside, outside};

/// Packages, and the program of each that is measured.
pub(super) const OTHERS: [(&str, &str); 4] = [
    ("crun", "usr/bin/crun"),
    ("runc", "usr/sbin/runc"),
    ("bubblewrap", "usr/bin/bwrap"),
    ("util-linux", "usr/bin/unshare"),
];

/// What is started: names that the table knows, and the words.
pub(super) fn runs() -> Vec<Value> {
    let mut runs = Vec::new();
    for case in ["plain", "full"] {
        let bundle = format!("/bundles/{case}");
        let mut add = |name: &str, words: Vec<String>, filter: Option<&str>| {
            runs.push(
                json!({ "name": format!("{name} {case}"), "words": words, "filter": filter }),
            );
        };
        let words = |words: &str| -> Vec<String> { words.split(' ').map(str::to_owned).collect() };
        add("C", words(&format!("/bin/compare {case}")), None);
        let run = format!("run --bundle {bundle} {HOSTNAME}");
        for (name, program) in [("berth", "bin/berth"), OTHERS[0], OTHERS[1]] {
            add(name, words(&format!("/{program} {run}")), None);
        }
        let mut bubble = words(&format!(
            "/{} --unshare-pid --unshare-uts --unshare-ipc --hostname {HOSTNAME} --as-pid-1 --new-session --cap-drop ALL \
             --bind {ROOTFS} / --proc /proc --dev /dev --mqueue /dev/mqueue",
            OTHERS[2].1
        ));
        for (right, _) in CAPABILITIES {
            bubble.extend(["--cap-add".to_owned(), right.to_owned()]);
        }
        if case == "full" {
            for number in 0..VOLUMES {
                bubble.extend(["--ro-bind".to_owned(), outside(number), inside(number)]);
            }
            bubble.extend(words("--seccomp 3"));
        }
        bubble.push(PROGRAM.to_owned());
        add(OTHERS[2].0, bubble, (case == "full").then_some("/filter"));
        if case == "plain" {
            let unshare = format!(
                "/{} --mount --pid --uts --ipc --fork --root={ROOTFS} --wd=/ --mount-proc {PROGRAM}",
                OTHERS[3].1
            );
            add(OTHERS[3].0, words(&unshare), None);
        }
    }
    runs
}
