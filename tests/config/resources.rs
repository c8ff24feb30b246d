//! `linux.resources` as lines for the files of a control group of version 2, in the order in which
//! they have to be written.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};
use serde_json::{Value, json};

pub(crate) fn resources(resources: Option<&LinuxResources>) -> Value {
    let mut lines = Vec::new();
    if let Some(resources) = resources {
        let put = &mut |file: &str, line: String| lines.push((file.to_owned(), line));
        if let Some(pids) = resources.pids() {
            limit(put, "pids.max", Some(pids.limit()));
        }
        if let Some(it) = resources.memory() {
            memory(put, it);
        }
        if let Some(it) = resources.cpu() {
            cpu(put, it);
        }
        if let Some(it) = resources.block_io() {
            block_io(put, it);
        }
        for it in resources.hugepage_limits().iter().flatten() {
            for kind in [".rsvd", ""] {
                let file = format!("hugetlb.{}{kind}.max", it.page_size());
                put(&file, it.limit().to_string());
            }
        }
        for (name, it) in resources.rdma().iter().flatten() {
            let handles = it.hca_handles().map(|n| format!(" hca_handle={n}"));
            let objects = it.hca_objects().map(|n| format!(" hca_object={n}"));
            let line = [handles, objects].map(Option::unwrap_or_default).concat();
            put("rdma.max", format!("{name}{line}"));
        }
        for (file, text) in resources.unified().iter().flatten() {
            for line in text.split('\n').filter(|line| !line.is_empty()) {
                put(file, line.to_owned());
            }
        }
    }
    in_order(lines)
}

/// Lines for files in their order. What the members of maps ask for comes last, and a map has no
/// order.
pub(crate) fn in_order(mut lines: Vec<(String, String)>) -> Value {
    lines.sort_by_key(|(file, line)| match file.as_str() {
        "rdma.max" => Some((file.clone(), line.clone())),
        "memory.high" | "cgroup.max.depth" | "io.latency" => Some((file.clone(), String::new())),
        _ => None,
    });
    json!(lines)
}

type Put<'p> = &'p mut dyn FnMut(&str, String);

fn max(limit: i64) -> String {
    match limit {
        ..0 => "max".to_owned(),
        _ => limit.to_string(),
    }
}

/// A limit of version 1: 0 says nothing.
fn limit(put: Put<'_>, file: &str, limit: Option<i64>) {
    if let Some(limit) = limit.filter(|limit| *limit != 0) {
        put(file, max(limit));
    }
}

fn memory(put: Put<'_>, it: &LinuxMemory) {
    let memory = it.limit().unwrap_or(0);
    match it.swap().unwrap_or(0) {
        0 if memory == -1 => put("memory.swap.max", max(-1)),
        0 => {}
        -1 => put("memory.swap.max", max(-1)),
        _ if memory == -1 => put("memory.swap.max", max(-1)),
        // In version 1 it is memory and swap together.
        both => put("memory.swap.max", (both - memory).to_string()),
    }
    limit(put, "memory.max", it.limit());
    limit(put, "memory.low", it.reservation());
}

fn cpu(put: Put<'_>, it: &LinuxCpu) {
    if let Some(idle) = it.idle() {
        put("cpu.idle", idle.to_string());
    }
    if let Some(shares) = it
        .shares()
        .filter(|shares| *shares != 0 && it.idle() != Some(1))
    {
        let l = (shares.clamp(2, 262_144) as f64).log2();
        let weight = 10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil();
        put("cpu.weight", format!("{weight}"));
    }
    let [quota, period] = [
        it.quota().unwrap_or(0).to_string(),
        it.period().unwrap_or(0).to_string(),
    ];
    if quota != "0" || period != "0" {
        if it.burst().is_some() {
            put("cpu.max.burst", "0".to_owned());
        }
        let quota = match quota.as_str() {
            // It stays as it is.
            "0" => "",
            quota if quota.starts_with('-') => "max",
            quota => quota,
        };
        let period = if period == "0" {
            String::new()
        } else {
            format!(" {period}")
        };
        put("cpu.max", format!("{quota}{period}"));
    }
    if let Some(burst) = it.burst() {
        put("cpu.max.burst", burst.to_string());
    }
    for (file, list) in [("cpuset.cpus", it.cpus()), ("cpuset.mems", it.mems())] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            put(file, list.clone());
        }
    }
}

fn block_io(put: Put<'_>, it: &LinuxBlockIo) {
    if let Some(weight) = it.weight().filter(|weight| *weight != 0) {
        put("io.bfq.weight", weight.to_string());
    }
    for device in it.weight_device().iter().flatten() {
        if let Some(weight) = device.weight().filter(|weight| *weight != 0) {
            put(
                "io.bfq.weight",
                format!("{}:{} {weight}", device.major(), device.minor()),
            );
        }
    }
    for (key, list) in [
        ("rbps", it.throttle_read_bps_device()),
        ("wbps", it.throttle_write_bps_device()),
        ("riops", it.throttle_read_iops_device()),
        ("wiops", it.throttle_write_iops_device()),
    ] {
        for device in list.iter().flatten() {
            let rate = if device.rate() == 0 {
                u64::MAX
            } else {
                device.rate()
            };
            put(
                "io.max",
                format!("{}:{} {key}={rate}", device.major(), device.minor()),
            );
        }
    }
}
