//! Values that are one word out of a few: what to do on failure, when idle, where to stop.

use core::fmt;

/// An enum whose variants are words of the command line.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// The variant that `word` chooses.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }

            /// The word that chooses it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        /// The word that chooses it.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

choice! {
    /// What ends a boot that failed.
    OnFailure {
        /// Switch the machine off.
        PowerOff = "poweroff",
        /// Start again, after `panic=` seconds.
        Reboot = "reboot",
        /// Stop the processors and leave the screen as it is.
        Halt = "halt",
        /// Let the kernel panic: pstore, kdump and a hypervisor's pvpanic see it.
        Panic = "panic",
        /// A shell on the console, when the image has one.
        Shell = "shell",
    }
}

choice! {
    /// What follows when nothing is left to run.
    OnIdle {
        /// Switch the machine off.
        PowerOff = "poweroff",
        /// Start again.
        Reboot = "reboot",
        /// Stop the processors.
        Halt = "halt",
        /// Start the kernel that was loaded for that (kexec_file_load(2)), or else as `reboot`.
        Kexec = "kexec",
        /// Stay: for machines that are only told what to do later.
        Wait = "wait",
    }
}

choice! {
    /// How a filesystem is checked before it is mounted.
    Fsck {
        /// What is safe to repair is repaired.
        Preen = "preen",
        /// All that can be repaired is, whatever is lost by that.
        Yes = "yes",
    }
}

choice! {
    /// Where to stop for a shell.
    BreakAt {
        /// Before the root is mounted.
        MountRoot = "mount-root",
        /// Before the switch onto it.
        SwitchRoot = "switch-root",
        /// Before the first container starts.
        Containers = "containers",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_chooses_its_variant_and_is_written_back() {
        for word in ["poweroff", "reboot", "halt", "panic", "shell"] {
            assert_eq!(OnFailure::parse(word).unwrap().to_string(), word);
        }
        for word in ["poweroff", "reboot", "halt", "kexec", "wait"] {
            assert_eq!(OnIdle::parse(word).unwrap().to_string(), word);
        }
        for word in ["mount-root", "switch-root", "containers"] {
            assert_eq!(BreakAt::parse(word).unwrap().to_string(), word);
        }
        for word in ["preen", "yes"] {
            assert_eq!(Fsck::parse(word).unwrap().to_string(), word);
        }
        assert_eq!(OnIdle::parse("shell"), None);
        assert_eq!(OnFailure::parse(""), None);
    }
}
