//! The state of a container as the specification has it (runtime.md, "State"), for its hooks and
//! for callers that ask.

use core::fmt;

use rustix::process::Pid;

use crate::parse::config::SPECIFICATION;
use crate::text::{Json, Written};

/// How far the life of a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its environment is being made.
    Creating,
    /// It is made, and its program does not run yet.
    Created,
    /// Its program runs.
    Running,
    /// Its control group is frozen: a status of this runtime's own, as the specification allows.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl Status {
    /// The specification's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// The state. `Display` is its JSON, in one line but for what is in the annotations.
#[derive(Clone, Copy, Debug)]
pub struct State<'s> {
    /// The container.
    pub id: &'s str,
    /// How far it is.
    pub status: Status,
    /// Its first process, as the reader sees it; none once it is stopped.
    pub pid: Option<Pid>,
    /// The directory of the bundle; absolute.
    pub bundle: &'s str,
    /// `annotations` of its `config.json`, as they are written.
    pub annotations: Option<&'s str>,
}

impl fmt::Display for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.name();
        let (id, bundle) = (Json(self.id), Json(self.bundle));
        write!(
            f,
            "{{\"ociVersion\":\"{SPECIFICATION}\",\"id\":{id},\"status\":\"{status}\""
        )?;
        if let Some(pid) = self.pid {
            write!(f, ",\"pid\":{}", pid.as_raw_nonzero())?;
        }
        write!(f, ",\"bundle\":{bundle}")?;
        if let Some(annotations) = self.annotations {
            write!(f, ",\"annotations\":{}", Written(annotations))?;
        }
        f.write_str("}")
    }
}

/// The state of one of a container's processes, for the agent that its filter asks
/// (config-linux.md, "The Container Process State"). `Display` is its JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessState<'s> {
    /// The process that has the filter, as the caller sees it.
    pub(super) pid: Option<Pid>,
    /// `listenerMetadata`, as it is written.
    pub(super) metadata: Option<&'s str>,
    /// The container.
    pub(super) state: &'s State<'s>,
}

impl fmt::Display for ProcessState<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = Pid::as_raw(self.pid);
        let (name, metadata) = match self.metadata {
            Some(metadata) => (",\"metadata\":", metadata),
            None => ("", ""),
        };
        write!(
            f,
            "{{\"ociVersion\":\"{SPECIFICATION}\",\"fds\":[\"seccompFd\"],\"pid\":{pid}{name}{metadata},\"state\":{}}}",
            self.state
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_json_with_the_annotations_as_they_were_written() {
        let state = State {
            id: "web",
            status: Status::Creating,
            pid: Pid::from_raw(81),
            bundle: "/a \"b\"\n",
            annotations: Some(r#"{"x": "\u0041"}"#),
        };
        let expected = concat!(
            r#"{"ociVersion":"1.3.0","id":"web","status":"creating","pid":81,"#,
            r#""bundle":"/a \"b\"\u000a","annotations":{"x": "\u0041"}}"#
        );
        assert_eq!(state.to_string(), expected);
        let stopped = State {
            status: Status::Stopped,
            pid: None,
            bundle: "/b",
            annotations: None,
            ..state
        };
        let expected = r#"{"ociVersion":"1.3.0","id":"web","status":"stopped","bundle":"/b"}"#;
        assert_eq!(stopped.to_string(), expected);
        const QUOTED: &str = "\"a \\\"b\\\"\"";
        let mut process = ProcessState {
            pid: Pid::from_raw(82),
            metadata: Some(QUOTED),
            state: &stopped,
        };
        let told = concat!(
            r#"{"ociVersion":"1.3.0","fds":["seccompFd"],"pid":82,"metadata":"a \"b\"","state":"#,
            r#"{"ociVersion":"1.3.0","id":"web","status":"stopped","bundle":"/b"}}"#
        );
        assert_eq!(process.to_string(), told);
        process.metadata = None;
        let told = told.replace(",\"metadata\":", "").replace(QUOTED, "");
        assert_eq!(process.to_string(), told);
    }
}
