//! Limits as properties of a unit (systemd.resource-control(5)).
//!
//! Without them systemd would set the files of its unit's group to what it knows of: to no limits.
//! The names are those of the files, otherwise spelled.

use crate::parse::config::Resources;
use crate::parse::dbus::write::Writer;

/// How a property has the value of a file.
#[derive(Clone, Copy)]
enum Kind {
    /// A number, or `max`.
    Limit,
    /// A list of numbers; as bits.
    Set,
}

const PROPERTIES: [(&str, &str, Kind); 10] = [
    ("memory.max", "MemoryMax", Kind::Limit),
    ("memory.high", "MemoryHigh", Kind::Limit),
    ("memory.low", "MemoryLow", Kind::Limit),
    ("memory.min", "MemoryMin", Kind::Limit),
    ("memory.swap.max", "MemorySwapMax", Kind::Limit),
    ("pids.max", "TasksMax", Kind::Limit),
    ("cpu.weight", "CPUWeight", Kind::Limit),
    ("io.weight", "IOWeight", Kind::Limit),
    ("cpuset.cpus", "AllowedCPUs", Kind::Set),
    ("cpuset.mems", "AllowedMemoryNodes", Kind::Set),
];

/// Bytes of a set: for 1024 processors.
const SET_MAX: usize = 128;

/// Writes a property for each limit that systemd has one for. The others are those of the
/// container's own group alone.
#[inline(never)]
pub(super) fn write(writer: &mut Writer<'_>, resources: &Resources<'_>) {
    // They were checked when they were read.
    let _ = resources.each_setting(&mut |setting| {
        let mut lines = [(setting.file, setting.line); 2];
        if let crate::parse::config::resources::Missing::Instead(file, line) = setting.missing {
            lines[1] = (file, line);
        }
        let [first, instead] = lines;
        let is_property = |line: &(&str, &str)| line.0 == "cpu.max" || property(line.0).is_some();
        if let Some((file, line)) = [first, instead].into_iter().find(is_property) {
            one(writer, file, line);
        }
    });
}

fn property(file: &str) -> Option<&'static (&'static str, &'static str, Kind)> {
    PROPERTIES.iter().find(|(known, ..)| *known == file)
}

fn one(writer: &mut Writer<'_>, file: &str, line: &str) {
    if file == "cpu.max" {
        return cpu_time(writer, line);
    }
    let Some((_, name, kind)) = property(file) else {
        return;
    };
    match kind {
        Kind::Limit => {
            // What is said of one device is not said of all.
            if let Some(limit) = limit(line.strip_prefix("default ").unwrap_or(line)) {
                writer.property(name, "t", &mut |writer| writer.u64(limit));
            }
        }
        Kind::Set => {
            let mut set = [0; SET_MAX];
            if let Some(len) = bits(line, &mut set) {
                writer.property(name, "ay", &mut |writer| {
                    writer.array(1, &mut |writer| {
                        writer.put(set.get(..len).unwrap_or_default());
                    });
                });
            }
        }
    }
}

fn limit(text: &str) -> Option<u64> {
    match text {
        "max" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// `cpu.max`: so many microseconds of each period. systemd has the time of a second, in whole
/// hundredths; rounded up it is no more than the container's own group allows.
fn cpu_time(writer: &mut Writer<'_>, line: &str) {
    const DEFAULT_PERIOD: u64 = 100_000;
    const HUNDREDTH: u64 = 10_000;
    let (quota, period) = line.split_once(' ').unwrap_or((line, ""));
    let period = period.parse().ok();
    let Some(quota) = limit(quota) else {
        return;
    };
    let time = match quota {
        u64::MAX => Some(u64::MAX),
        quota => quota
            .checked_mul(1_000_000)
            .and_then(|time| time.checked_div(period.unwrap_or(DEFAULT_PERIOD)))
            .and_then(|time| time.checked_next_multiple_of(HUNDREDTH)),
    };
    if let Some(time) = time {
        writer.property("CPUQuotaPerSecUSec", "t", &mut |writer| writer.u64(time));
    }
    if let Some(period) = period {
        writer.property("CPUQuotaPeriodUSec", "t", &mut |writer| writer.u64(period));
    }
}

/// `0-3,7` as bits, the lowest first; how many bytes.
fn bits(list: &str, set: &mut [u8; SET_MAX]) -> Option<usize> {
    let mut len = 0;
    for range in list.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        for number in first.parse::<usize>().ok()?..=last.parse::<usize>().ok()? {
            *set.get_mut(number / 8)? |= 1 << (number % 8);
            len = len.max(number / 8 + 1);
        }
    }
    Some(len).filter(|len| *len > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::dbus::write::Method;
    use crate::parse::json;

    /// What is written for a section, as text: names and the last 8 bytes of values.
    fn written(section: &str) -> Vec<u8> {
        let section = json::check(section.as_bytes()).unwrap();
        let resources = Resources::check(Some(section)).unwrap();
        message(&mut |writer| write(writer, &resources))
    }

    fn message(body: &mut dyn FnMut(&mut Writer<'_>)) -> Vec<u8> {
        let method = Method {
            destination: "a.b",
            path: "/",
            interface: "a.b",
            member: "c",
            signature: "a(sv)",
        };
        let mut room = [0; 1024];
        Writer::call(&mut room, 1, &method, body).unwrap().to_vec()
    }

    fn numbers(properties: &[(&str, u64)]) -> Vec<u8> {
        message(&mut |writer| {
            for (name, value) in properties {
                writer.property(name, "t", &mut |writer| writer.u64(*value));
            }
        })
    }

    #[test]
    fn limits_are_properties() {
        let section = r#"{"pids":{"limit":50},"memory":{"limit":67108864,"swap":-1,"reservation":4096},
            "cpu":{"shares":1024,"quota":15001,"period":100000},"blockIO":{"weight":500},
            "unified":{"memory.high":"max","memory.min":"1","memory.zswap.max":"3","io.weight":"8:0 5"}}"#;
        let expected = [
            ("TasksMax", 50),
            ("MemorySwapMax", u64::MAX),
            ("MemoryMax", 64 << 20),
            ("MemoryLow", 4096),
            ("CPUWeight", 100),
            ("CPUQuotaPerSecUSec", 160_000),
            ("CPUQuotaPeriodUSec", 100_000),
            ("IOWeight", 4950),
            ("MemoryHigh", u64::MAX),
            ("MemoryMin", 1),
        ];
        assert_eq!(written(section), numbers(&expected));
        let expected = [("TasksMax", u64::MAX), ("CPUQuotaPerSecUSec", u64::MAX)];
        let section = r#"{"pids":{"limit":-1},"cpu":{"quota":-1}}"#;
        assert_eq!(written(section), numbers(&expected));
        assert_eq!(written("{}"), numbers(&[]));
    }

    #[test]
    fn processors_are_bits() {
        let expected = message(&mut |writer| {
            writer.property("AllowedCPUs", "ay", &mut |writer| {
                writer.array(1, &mut |writer| writer.put(&[0b1000_1111, 2]));
            });
        });
        assert_eq!(written(r#"{"cpu":{"cpus":"0-3,7,9"}}"#), expected);
        for none in ["", ",", "3-", "1024", "5-1", "0-99999999999"] {
            assert_eq!(bits(none, &mut [0; SET_MAX]), None, "{none}");
        }
    }
}
