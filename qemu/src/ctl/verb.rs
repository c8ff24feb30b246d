//! What can be asked for, and the request that says so.

use std::fmt;

use anyhow::Result;
use clap::Subcommand;
use rustix::termios::Winsize;
use serde_json::{Value, json};

use crate::control;

/// A verb and what belongs to it.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// List the containers
    List,
    /// Print what a container has printed
    Logs {
        /// Go on with what it prints from now on
        #[arg(short, long)]
        follow: bool,
        /// Only the last lines of it
        #[arg(short = 'n', long, value_name = "LINES")]
        lines: Option<u64>,
        /// Only what was printed since then
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// The container
        id: String,
    },
    /// Start a container that does not run, also one whose bundle is new
    Start {
        /// The container
        id: String,
    },
    /// Stop a container, which stays stopped until it is started
    Stop {
        /// The container
        id: String,
    },
    /// Stop a container and start it again
    Restart {
        /// The container
        id: String,
    },
    /// Send a signal to a container
    Kill {
        /// The container
        id: String,
        /// A name or a number
        #[arg(default_value = "TERM")]
        signal: String,
    },
    /// Run another program in a container, and end with its status
    Exec(Exec),
    /// Print how long each stage of the boot took
    Boot,
    /// Print what has happened
    Events {
        /// Go on with what happens from now on
        #[arg(short, long)]
        follow: bool,
    },
    /// Print the mounts of the machine and of each container
    Mounts {
        /// Only this container's
        id: Option<String>,
    },
    /// Have all containers and filesystems stand still, so that the machine can be copied
    Freeze,
    /// Have a frozen machine go on, with the time and 64 random bytes of this host
    Thaw(Thaw),
    /// Stop all containers and switch the machine off
    Poweroff,
    /// Stop all containers and reboot
    Reboot,
    /// Stop all containers and halt
    Halt,
    /// Stop all containers and start the kernel that was loaded for that
    Kexec,
}

/// What a machine that goes on is given.
#[derive(clap::Args, Debug)]
pub struct Thaw {
    /// Another time: RFC 3339 in universal time, or nanoseconds since 1970
    #[arg(long, value_name = "TIME")]
    pub time: Option<String>,
    /// Other random bytes, at most 512
    #[arg(long, value_name = "BASE64")]
    pub entropy: Option<String>,
    /// Give it nothing: it takes both from its own devices
    #[arg(long, conflicts_with_all = ["time", "entropy"])]
    pub own: bool,
}

impl Thaw {
    fn request(&self) -> Result<Value> {
        if self.own {
            return Ok(json!({}));
        }
        let time = match &self.time {
            Some(time) => time
                .parse::<u64>()
                .map_or_else(|_| json!(time), Value::from),
            None => json!(control::nanoseconds_now()?),
        };
        let entropy = match &self.entropy {
            Some(entropy) => entropy.clone(),
            None => control::entropy()?,
        };
        Ok(json!({ "time": time, "entropy": entropy }))
    }
}

/// A program to run.
#[derive(clap::Args, Debug)]
pub struct Exec {
    /// Pass on standard input
    #[arg(short, long)]
    pub interactive: bool,
    /// Give it a terminal; Ctrl-] three times leaves it
    #[arg(short, long)]
    pub tty: bool,
    /// A variable of its environment
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// The user it runs as
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// The directory it begins in
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<String>,
    /// The container
    pub id: String,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub program: Vec<String>,
}

impl Verb {
    /// The request. Lines for people are asked for if `text` is set, and `size` is that of the
    /// terminal, if there is one.
    pub(crate) fn request(&self, text: bool, size: Option<Winsize>) -> Result<Value> {
        let mut request = match self {
            Self::List => json!({}),
            Self::Logs {
                follow,
                lines,
                since,
                id,
            } => {
                let mut request = json!({ "container": id });
                set(&mut request, "follow", follow.then_some(true));
                set(&mut request, "lines", *lines);
                set(&mut request, "since", since.clone());
                request
            }
            Self::Start { id } | Self::Stop { id } | Self::Restart { id } => {
                json!({ "container": id })
            }
            Self::Kill { id, signal } => match signal.parse::<u8>() {
                Ok(number) => json!({ "container": id, "signal": number }),
                Err(_) => json!({ "container": id, "signal": signal }),
            },
            Self::Exec(exec) => exec.request(size),
            Self::Events { follow } => {
                let mut request = json!({});
                set(&mut request, "follow", follow.then_some(true));
                request
            }
            Self::Mounts { id } => {
                let mut request = json!({});
                set(&mut request, "container", id.clone());
                request
            }
            Self::Thaw(thaw) => thaw.request()?,
            Self::Boot
            | Self::Freeze
            | Self::Poweroff
            | Self::Reboot
            | Self::Halt
            | Self::Kexec => json!({}),
        };
        request["do"] = self.name().into();
        if text && self.has_lines() {
            request["text"] = true.into();
        }
        Ok(request)
    }

    /// The name, on the command line and in the request.
    fn name(&self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Logs { .. } => "logs",
            Self::Start { .. } => "start",
            Self::Stop { .. } => "stop",
            Self::Restart { .. } => "restart",
            Self::Kill { .. } => "kill",
            Self::Exec(_) => "exec",
            Self::Boot => "boot",
            Self::Events { .. } => "events",
            Self::Mounts { .. } => "mounts",
            Self::Freeze => "freeze",
            Self::Thaw(_) => "thaw",
            Self::Poweroff => "poweroff",
            Self::Reboot => "reboot",
            Self::Halt => "halt",
            Self::Kexec => "kexec",
        }
    }

    /// Whether what comes are lines to read.
    fn has_lines(&self) -> bool {
        matches!(
            self,
            Self::List | Self::Logs { .. } | Self::Boot | Self::Events { .. } | Self::Mounts { .. }
        )
    }

    /// Whether the machine says something at once, if it is there at all.
    pub(crate) fn is_quick(&self) -> bool {
        match self {
            Self::Logs { follow, .. } | Self::Events { follow } => !follow,
            Self::List | Self::Kill { .. } | Self::Boot | Self::Mounts { .. } => true,
            _ => false,
        }
    }

    /// Whether the machine ends by it, and may be gone before it has answered.
    pub(crate) fn is_end(&self) -> bool {
        matches!(
            self,
            Self::Poweroff | Self::Reboot | Self::Halt | Self::Kexec
        )
    }
}

/// As others see what somebody is busy with.
impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Logs { id, .. }
            | Self::Start { id }
            | Self::Stop { id }
            | Self::Restart { id }
            | Self::Kill { id, .. } => write!(f, " {id}"),
            Self::Exec(exec) => write!(f, " {} {}", exec.id, exec.program.join(" ")),
            _ => Ok(()),
        }
    }
}

impl Exec {
    fn request(&self, size: Option<Winsize>) -> Value {
        let mut request = json!({ "container": self.id, "args": self.program });
        set(&mut request, "tty", self.tty.then_some(true));
        set(&mut request, "user", self.user.clone());
        set(&mut request, "cwd", self.cwd.clone());
        let env = (!self.env.is_empty()).then(|| json!(self.env));
        set(&mut request, "env", env);
        if let Some(size) = size.filter(|_| self.tty) {
            request["rows"] = size.ws_row.into();
            request["columns"] = size.ws_col.into();
        }
        request
    }
}

/// What was not said is left out.
fn set(request: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        request[name] = value.into();
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        verb: Verb,
    }

    fn request(line: &str, text: bool) -> Value {
        let words = std::iter::once("ctl").chain(line.split(' '));
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Line::parse_from(words)
            .verb
            .request(text, Some(size))
            .unwrap()
    }

    #[test]
    fn each_verb_becomes_its_request() {
        for (line, expected) in [
            ("list", json!({ "do": "list" })),
            ("boot", json!({ "do": "boot" })),
            ("events -f", json!({ "do": "events", "follow": true })),
            ("events", json!({ "do": "events" })),
            ("logs web", json!({ "do": "logs", "container": "web" })),
            (
                "logs -f -n 5 --since 10m web",
                json!({ "do": "logs", "container": "web", "follow": true, "lines": 5, "since": "10m" }),
            ),
            ("start web", json!({ "do": "start", "container": "web" })),
            ("stop web", json!({ "do": "stop", "container": "web" })),
            (
                "restart web",
                json!({ "do": "restart", "container": "web" }),
            ),
            (
                "kill web",
                json!({ "do": "kill", "container": "web", "signal": "TERM" }),
            ),
            (
                "kill web 9",
                json!({ "do": "kill", "container": "web", "signal": 9 }),
            ),
            ("mounts", json!({ "do": "mounts" })),
            ("mounts web", json!({ "do": "mounts", "container": "web" })),
            ("poweroff", json!({ "do": "poweroff" })),
            ("reboot", json!({ "do": "reboot" })),
            ("halt", json!({ "do": "halt" })),
            ("kexec", json!({ "do": "kexec" })),
            ("freeze", json!({ "do": "freeze" })),
            ("thaw --own", json!({ "do": "thaw" })),
            (
                "thaw --time 2026-11-01T00:00:00Z --entropy aGk=",
                json!({ "do": "thaw", "time": "2026-11-01T00:00:00Z", "entropy": "aGk=" }),
            ),
            (
                "thaw --time 1793491200000000001 --entropy aGk=",
                json!({ "do": "thaw", "time": 1_793_491_200_000_000_001_u64, "entropy": "aGk=" }),
            ),
        ] {
            assert_eq!(request(line, false), expected, "{line}");
        }
    }

    #[test]
    fn program_has_its_own_options() {
        let line = "exec -i -e A=1 -e B= -u 1000 --cwd /srv web ls -t --json -e x";
        assert_eq!(
            request(line, false),
            json!({
                "do": "exec", "container": "web", "args": ["ls", "-t", "--json", "-e", "x"],
                "env": ["A=1", "B="], "user": "1000", "cwd": "/srv",
            })
        );
    }

    #[test]
    fn thaw_comes_with_the_hosts_time_and_with_new_randomness() {
        let requests = [request("thaw", false), request("thaw", false)];
        let [first, second] = requests.map(|request| {
            let time = request["time"].as_u64().unwrap();
            let entropy = control::bytes_of(&request, "entropy").unwrap();
            assert_eq!((request["do"].as_str(), entropy.len()), (Some("thaw"), 64));
            (time, entropy)
        });
        assert!(first.0 < second.0 && first.0 > 1_700_000_000 * 1_000_000_000);
        assert_ne!(first.1, second.1);
    }

    #[test]
    fn terminal_comes_with_its_size() {
        assert_eq!(
            request("exec -it web sh", false),
            json!({
                "do": "exec", "container": "web", "args": ["sh"], "tty": true, "rows": 24,
                "columns": 80,
            })
        );
    }

    #[test]
    fn lines_are_asked_for_where_there_are_any() {
        for line in ["list", "logs web", "boot", "events", "mounts"] {
            assert_eq!(request(line, true)["text"], true, "{line}");
        }
        for line in ["start web", "exec web true", "poweroff"] {
            assert_eq!(request(line, true)["text"], Value::Null, "{line}");
        }
    }
}
