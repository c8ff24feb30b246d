//! What the command line says about the root, as it was understood. A failure report has it as a
//! line, in which a misread word shows.

use core::fmt;

use super::{Access, Plan, RootWait};
use crate::text::Escaped;

/// The words about the root, in the grammar of the command line, with what holds by default.
pub struct RootWords<'p, 'a>(&'p Plan<'a>);

impl<'a> Plan<'a> {
    /// What was asked for about the root. Displays as nothing where nothing was.
    #[must_use]
    pub fn root_words(&self) -> RootWords<'_, 'a> {
        RootWords(self)
    }
}

impl fmt::Display for RootWords<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = self.0;
        let Some(root) = plan.root else { return Ok(()) };
        write!(f, "root={root}")?;
        if !plan.rootfstype.is_empty() {
            write!(f, " rootfstype={}", plan.rootfstype)?;
        }
        if let Some(flags) = plan.rootflags {
            write!(f, " rootflags={}", Escaped(flags))?;
        }
        f.write_str(match plan.access {
            Some(Access::ReadOnly) => " ro",
            Some(Access::Writable) => " rw",
            None => "",
        })?;
        match plan.rootwait {
            RootWait::Forever => f.write_str(" rootwait")?,
            RootWait::Default | RootWait::Seconds(_) => {
                let limit = plan.rootwait.limit().unwrap_or_default();
                write!(f, " rootwait={}", limit.as_secs())?;
            }
        }
        if let Some(init) = plan.init {
            write!(f, " init={}", Escaped(init))?;
        }
        if let Some(verity) = plan.verity {
            write!(f, " berth.verity={verity}")?;
        }
        if let Some(overlay) = plan.overlay {
            write!(f, " berth.overlay={overlay}")?;
        }
        if !plan.root_fallback.is_empty() {
            write!(f, " berth.root_fallback={}", plan.root_fallback)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_shown_as_it_was_understood() {
        let line =
            br#"root=LABEL="my disk" ro rootfstype=ext4,vfat rootwait=3 quiet init=/sbin/init"#;
        let plan = Plan::new(b"rootflags=noatime", line).unwrap();
        assert_eq!(
            plan.root_words().to_string(),
            "root=LABEL=my disk rootfstype=ext4,vfat rootflags=noatime ro rootwait=3 init=/sbin/init"
        );
    }

    #[test]
    fn defaults_are_shown_too() {
        let plan = Plan::new(b"", b"root=8:1 berth.root_fallback=8:2").unwrap();
        assert_eq!(
            plan.root_words().to_string(),
            "root=8:1 rootwait=10 berth.root_fallback=8:2"
        );
        assert_eq!(Plan::empty().root_words().to_string(), "");
    }
}
