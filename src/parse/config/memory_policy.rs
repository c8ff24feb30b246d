//! `linux.memoryPolicy`: from which memory nodes a program gets its memory (set_mempolicy(2);
//! `config-linux.md`, "Memory policy").

use super::affinity::{PROCESSORS_MAX, Processors};
use super::error::Field;
use super::members::place;
use super::reader::{Reader, Refused, Use};
use crate::parse::json::Value;

/// How many memory nodes are told apart: as many as a kernel can be built for (MAX_NUMNODES).
pub const NODES_MAX: usize = PROCESSORS_MAX;

/// In the order of their numbers (include/uapi/linux/mempolicy.h).
pub const MODES: [&str; 7] = [
    "DEFAULT",
    "PREFERRED",
    "BIND",
    "INTERLEAVE",
    "LOCAL",
    "PREFERRED_MANY",
    "WEIGHTED_INTERLEAVE",
];

/// In the order of their bits, from [`FIRST_FLAG`] on.
pub const FLAGS: [&str; 3] = ["NUMA_BALANCING", "RELATIVE_NODES", "STATIC_NODES"];

/// The bit of the first flag.
const FIRST_FLAG: usize = 13;

/// What a policy has.
pub(super) const MEMBERS: [&str; 3] = ["mode", "flags", "nodes"];

/// What the names of modes begin with, and those of flags.
pub const PREFIXES: [&str; 2] = ["MPOL_", "MPOL_F_"];

/// A policy, as set_mempolicy(2) takes it. What does not fit together is for the kernel to say,
/// which knows the machine's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPolicy<'a> {
    /// `mode`, and `flags`.
    pub mode: u32,
    /// `nodes`: those that it is about.
    pub nodes: Option<Processors<'a>>,
}

impl<'a> MemoryPolicy<'a> {
    #[inline(never)]
    pub(super) fn read(reader: &Reader<'a>, policy: Value<'a>) -> Result<Option<Self>, Refused> {
        const MODE: &str = "linux.memoryPolicy.mode";
        const NODES: &str = "linux.memoryPolicy.nodes";
        const LIST: &str = "linux.memoryPolicy.flags[]";
        let [of_modes, of_flags] = PREFIXES;
        reader.object(policy, "linux.memoryPolicy")?;
        // Engines write an object that says nothing for no policy.
        if policy.is_empty() {
            return Ok(None);
        }
        let [mode, list, nodes] = policy.members(&MEMBERS);
        let mode = mode.ok_or_else(|| reader.missing(MODE))?;
        let mode = reader.text(mode, MODE.into())?;
        let accepts = "a MPOL_ mode of set_mempolicy(2)";
        let mode = place(mode, of_modes, &MODES)
            .ok_or_else(|| reader.bad(MODE, mode.written(), accepts))?;
        let mut flags = 0;
        for (index, item) in reader.items_if_any(list, LIST.into())?.enumerate() {
            let field = Field::item(LIST, index);
            let flag = reader.text(item, field)?;
            let accepts = "the MPOL_F_ flags of set_mempolicy(2)";
            let bit = place(flag, of_flags, &FLAGS)
                .ok_or_else(|| reader.bad(field, flag.written(), accepts))?;
            flags |= 1 << bit;
        }
        let nodes = match reader.optional(nodes, NODES.into(), Use::Name)? {
            None => None,
            Some(text) => {
                let accepts = "numbers of memory nodes up to 1023, as 0-3,7";
                let list = Processors::parse(text);
                Some(list.ok_or_else(|| reader.bad(NODES, text, accepts))?)
            }
        };
        let mode = (mode | (flags << FIRST_FLAG)) as u32;
        Ok(Some(Self { mode, nodes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::config::Config;

    /// What is said of a bundle with this memory policy.
    fn with<T>(linux: &str, see: impl FnOnce(Result<Config<'_>, String>) -> T) -> T {
        let file = format!(
            r#"{{"ociVersion":"1.3.0","process":{{"args":["x"],"cwd":"/"}},"root":{{"path":"x"}},
            "linux":{{"namespaces":[{{"type":"mount"}}],"memoryPolicy":{linux}}}}}"#
        );
        let mut scratch = vec![0; file.len()];
        let config = Config::parse(file.as_bytes(), &mut scratch, &mut []);
        see(config.map_err(|error| error.to_string()))
    }

    type Policy = (u32, Option<Vec<usize>>);

    fn policy(text: &str) -> Result<Option<Policy>, String> {
        with(text, |config| {
            Ok(config?.process.memory_policy.map(|policy| {
                let has =
                    |list: Processors<'_>| (0..NODES_MAX).filter(|it| list.has(*it)).collect();
                (policy.mode, policy.nodes.map(has))
            }))
        })
    }

    #[test]
    fn modes_and_flags_are_the_kernels_numbers() {
        for (text, mode, nodes) in [
            (r#"{"mode":"MPOL_DEFAULT"}"#, 0, None),
            (r#"{"mode":"MPOL_PREFERRED","nodes":""}"#, 1, None),
            (r#"{"mode":"MPOL_BIND","nodes":"0"}"#, 2, Some(vec![0])),
            (
                r#"{"mode":"MPOL_INTERLEAVE","nodes":"1, 3-4","flags":["MPOL_F_STATIC_NODES"]}"#,
                3 | 1 << 15,
                Some(vec![1, 3, 4]),
            ),
            (
                r#"{"mode":"MPOL_WEIGHTED_INTERLEAVE","flags":["MPOL_F_NUMA_BALANCING","MPOL_F_RELATIVE_NODES"]}"#,
                6 | 1 << 13 | 1 << 14,
                None,
            ),
        ] {
            assert_eq!(policy(text), Ok(Some((mode, nodes))), "{text}");
        }
        // An engine says so that it wants none.
        assert_eq!(policy("{}"), Ok(None));
        assert_eq!(policy("null"), Ok(None));
    }

    #[test]
    fn what_is_no_policy_is_refused_by_its_field() {
        for (text, said) in [
            (
                r#"{"nodes":"0"}"#,
                "linux.memoryPolicy.mode is missing or empty",
            ),
            (
                r#"{"mode":"BIND","nodes":"0"}"#,
                r#"linux.memoryPolicy.mode is "BIND"; it takes a MPOL_ mode of set_mempolicy(2)"#,
            ),
            (
                r#"{"mode":"MPOL_BIND","flags":["badflag"]}"#,
                r#"linux.memoryPolicy.flags[0] is "badflag"; it takes the MPOL_F_ flags of set_mempolicy(2)"#,
            ),
            (
                r#"{"mode":"MPOL_BIND","nodes":"0-9876543210"}"#,
                r#"linux.memoryPolicy.nodes is "0-9876543210"; it takes numbers of memory nodes up to 1023, as 0-3,7"#,
            ),
            ("[]", "linux.memoryPolicy is not an object"),
        ] {
            assert_eq!(policy(text), Err(said.to_owned()), "{text}");
        }
    }
}
