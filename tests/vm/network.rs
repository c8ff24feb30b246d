//! The machine's network. The machines here count instructions, so that an hour of a lease takes
//! no time. The other side is QEMU's user network, a DHCP server of Debian's, or one that does as
//! it is told; the last two are containers with a network card of their own, wired to the
//! machine's.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use berth_initramfs::{Compression, DeviceClass};
use berth_qemu::packages::{LIBRARIES, Packages};
use berth_qemu::tree::Tree;
use berth_qemu::vm::{Builder, Ended, Event, Outcome};
use berth_tests::{Bundle, Lab, Seen, Shared, disk, field, warnings};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere qemus_own_dhcp_server_gives_the_machine_its_network,
    everywhere containers_look_names_up_as_the_machine_does,
    everywhere idle_machine_with_a_network_and_log_files_is_not_woken_up,
    everywhere lease_is_kept_as_its_server_says,
    everywhere routers_give_addresses_of_ipv6,
    once what_a_server_gives_is_set_up,
    once name_of_the_root_is_the_machines,
    matrix dnsmasq_gives_the_machine_its_network,
    once address_that_another_machine_has_is_declined,
    once hostile_answers_cost_nothing_but_time,
    everywhere words_set_devices_up_and_those_that_cannot_be_honoured_are_named,
    once device_that_comes_late_is_set_up_then,
    everywhere containers_that_require_the_network_are_started_when_it_is_there,
    once containers_that_require_a_network_that_is_late_are_named_and_started_then,
];

/// Nothing is said while a lease lasts, and a host that is busy takes long for it.
const SILENCE: Duration = Duration::from_secs(110);

/// A machine without disks: the clock would run on while it waits for them.
fn machine(lab: &Lab, name: &str, words: &str, bundles: Vec<Bundle>) -> Result<Builder> {
    machine_of(lab, name, words, disk::files(bundles)?)
}

fn machine_of(lab: &Lab, name: &str, words: &str, tree: Tree) -> Result<Builder> {
    let root = tempfile::tempdir()?;
    tree.make(root.path())?;
    let image = lab
        .spec()?
        .load(["virtio_pci", "virtio_console"])
        .for_devices([DeviceClass::Net])
        .root_archive(root.path())
        .build(Compression::Zstd)?;
    Ok(lab
        .machine_with(name, &image)
        .append("root=tmpfs")
        .append(words)
        .silence(SILENCE)
        .counted())
}

/// A container that shares the machine's network, and has a file for its resolver.
fn looker(id: &str, words: &[&str]) -> Bundle {
    Bundle::new(id)
        .file("etc/resolv.conf", "# nobody\n")
        .runs([&["/bin/guest"], words].concat())
}

/// A container that has the device `eth1` for itself, wired to the machine's `eth0`.
fn server(words: &[&str]) -> Bundle {
    Bundle::new("server")
        .namespaces(&["mount", "uts", "network"])
        .set("/linux/netDevices", json!({ "eth1": {} }))
        .runs([&["/bin/guest", "dhcp-server", "eth1"], words].concat())
}

/// Two network cards on one wire.
const WIRED: [&str; 8] = [
    "-netdev",
    "hubport,id=machine,hubid=1",
    "-device",
    "virtio-net-pci,ioeventfd=off,netdev=machine,mac=52:54:00:00:00:01",
    "-netdev",
    "hubport,id=other,hubid=1",
    "-device",
    "virtio-net-pci,ioeventfd=off,netdev=other,mac=52:54:00:00:00:02",
];

fn network<'e>(events: &'e [Event], state: &str) -> Vec<&'e Event> {
    let is_it = |event: &&Event| event.name() == "network" && field(event, "state") == Some(state);
    events.iter().filter(is_it).collect()
}

/// A container that is started when the network is there.
fn needy(id: &str) -> Bundle {
    Bundle::new(id)
        .annotation("berth.requires", "network")
        .shares("look")
}

/// The container was started after the network was told to be ready, and not before.
fn needed_the_network(events: &[Event], id: &str) -> Result<()> {
    let place = |is_it: &dyn Fn(&Event) -> bool| events.iter().position(is_it);
    let ready = place(&|event| event.name() == "network" && field(event, "state") == Some("ready"));
    let started = place(&|event| event.is_container(id, "started"));
    ensure!(ready.is_some() && started > ready, "{ready:?} {started:?}");
    Ok(())
}

/// No run has ended, and none was told to do what it cannot.
fn without_warnings(outcome: &Outcome) -> Result<()> {
    let warnings = warnings(outcome);
    ensure!(warnings.is_empty(), "{warnings:?}");
    Ok(())
}

static USER: Shared = Shared::new(boot_user);

fn boot_user(lab: &Lab) -> Result<Outcome> {
    let show = ["/bin/guest", "show", "/etc/resolv.conf"];
    let network = json!({ "type": "network" });
    let bundles = vec![
        looker("look", &["network", "10.0.2.3"])
            .namespaces(&["mount"])
            .set("/hostname", Value::Null),
        // Sees PID 1.
        looker("count", &["wake-ups", "10.0.2.3", "60"])
            .namespaces(&["mount", "uts"])
            .shares("look"),
        looker("own", &[])
            .runs(show)
            .mount(
                "/etc/resolv.conf",
                "bind",
                "../look/rootfs/etc/resolv.conf",
                &["bind"],
            )
            .shares("look"),
        looker("apart", &[])
            .runs(show)
            .set("/linux/namespaces/-", network)
            .shares("look"),
        needy("needs"),
    ];
    let user = "user,id=net,hostname=web,dnssearch=example.org,dnssearch=example.net";
    machine(lab, "network_user", "ip=dhcp berth.log=/var/log", bundles)?
        .arguments([
            "-netdev",
            user,
            "-device",
            "virtio-net-pci,netdev=net,ioeventfd=off",
        ])
        .start()?
        .wait()
        .map_err(Into::into)
}

fn qemus_own_dhcp_server_gives_the_machine_its_network(lab: &Lab) -> Result<()> {
    let outcome = USER.outcome(lab)?;
    let configured = network(&outcome.events, "configured");
    let [event] = configured[..] else {
        bail!("{configured:?}");
    };
    for (name, expected) in [
        ("device", "eth0"),
        ("address", "10.0.2.15/24"),
        ("gateway", "10.0.2.2"),
        ("dns", "10.0.2.3"),
    ] {
        ensure!(field(event, name) == Some(expected), "{:?}", event.raw);
    }
    ensure!(event.raw["lease"] == 86400, "{:?}", event.raw);
    ensure!(network(&outcome.events, "ready").len() == 1);
    let look = Seen::new(&outcome, "look");
    look.printed("route 0.0.0.0/0 via 10.0.2.2 by eth0")?;
    look.printed("route 10.0.2.0/24 via 0.0.0.0 by eth0")?;
    look.printed("named web in (none)")?;
    without_warnings(&outcome)?;
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

fn containers_look_names_up_as_the_machine_does(lab: &Lab) -> Result<()> {
    let outcome = USER.outcome(lab)?;
    let look = Seen::new(&outcome, "look");
    look.printed("resolv search example.org example.net")?;
    look.printed("resolv nameserver 10.0.2.3")?;
    look.printed("resolv writable false")?;
    Seen::new(&outcome, "own").printed("# nobody")?;
    Seen::new(&outcome, "apart").printed("# nobody")
}

fn idle_machine_with_a_network_and_log_files_is_not_woken_up(lab: &Lab) -> Result<()> {
    let outcome = USER.outcome(lab)?;
    Seen::new(&outcome, "count").printed("woken up 0 times")
}

static KEPT: Shared = Shared::new(boot_kept);

/// What a server with a lease of ten minutes does about each message.
const KEPT_SCRIPT: &[&str] = &[
    "lease=600",
    "dns=10.9.0.53",
    "gateway=10.9.0.1",
    "routes=some",
    "mtu=1400",
    "hostname=other",
    "domain=example.org",
    "router",
    // It gives an address, while somebody else on the link refuses it and gives others.
    "offer",
    "foreign",
    "ack",
    // At half of the time it is asked for more, and gives it.
    "ack",
    // Then it is silent, until all servers are asked.
    "silence",
    "silence",
    "silence",
    "silence",
    "ack",
    // It wants the address back, and gives it again.
    "nak",
    "offer",
    "ack",
    // It is silent until the time is up, and then gives the address again.
    "silence",
    "silence",
    "silence",
    "silence",
    "silence",
    "offer",
    "ack",
    // By then it is in use.
    "ack",
];

const KEPT_MESSAGES: &[&str] = &[
    "discover",
    "select 10.9.0.7",
    "renew 10.9.0.7",
    "renew 10.9.0.7",
    "renew 10.9.0.7",
    "renew 10.9.0.7",
    "rebind 10.9.0.7",
    "rebind 10.9.0.7",
    "renew 10.9.0.7",
    "discover 10.9.0.7",
    "select 10.9.0.7",
    "renew 10.9.0.7",
    "renew 10.9.0.7",
    "renew 10.9.0.7",
    "rebind 10.9.0.7",
    "rebind 10.9.0.7",
    "discover 10.9.0.7",
    "select 10.9.0.7",
    "renew 10.9.0.7",
];

fn boot_kept(lab: &Lab) -> Result<Outcome> {
    let look = looker("look", &["network", "10.9.0.53"])
        .namespaces(&["mount"])
        .set("/hostname", Value::Null);
    let six = looker("six", &["network", "2001:db8:9::53"]).shares("look");
    let bundles = [look, six, server(KEPT_SCRIPT).shares("look")];
    let tree = disk::files(bundles)?
        .directory("etc")
        .file("etc/hostname", "# of the root\nbox\n");
    let words = "ip=eth0:dhcp ip=eth0:auto6";
    let vm = machine_of(lab, "network_kept", words, tree)?
        .arguments(WIRED)
        .start()?;
    Ok(vm.wait()?)
}

fn lease_is_kept_as_its_server_says(lab: &Lab) -> Result<()> {
    let outcome = KEPT.outcome(lab)?;
    let lines: Vec<_> = Seen::new(&outcome, "server").lines().collect();
    let messages: Vec<_> = lines
        .iter()
        .copied()
        .filter(|line| !matches!(*line, "serving" | "advertised" | "served"))
        .collect();
    ensure!(messages == KEPT_MESSAGES, "{messages:?}");
    // What has not changed is no news.
    let states: Vec<_> = outcome
        .events
        .iter()
        .filter(|event| event.name() == "network" && field(event, "device") == Some("eth0"))
        .filter_map(|event| field(event, "state"))
        .collect();
    let expected = [
        "up",
        "configured",
        "lost",
        "configured",
        "lost",
        "configured",
    ];
    ensure!(states == expected, "{states:?}");
    without_warnings(&outcome)?;
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

fn routers_give_addresses_of_ipv6(lab: &Lab) -> Result<()> {
    let outcome = KEPT.outcome(lab)?;
    Seen::new(&outcome, "server").printed("advertised")?;
    Seen::new(&outcome, "six").printed("resolv nameserver 2001:db8:9::53")?;
    // `ip=eth0:auto6` waits for the address.
    let ready = network(&outcome.events, "ready");
    ensure!(ready.len() == 1, "{ready:?}");
    Ok(())
}

fn what_a_server_gives_is_set_up(lab: &Lab) -> Result<()> {
    let outcome = KEPT.outcome(lab)?;
    let look = Seen::new(&outcome, "look");
    for line in [
        "resolv search example.org",
        "resolv nameserver 10.9.0.53",
        "route 10.0.0.0/8 via 10.9.0.1 by eth0",
        "route 192.0.2.0/24 via 0.0.0.0 by eth0",
        "route 10.9.0.0/24 via 0.0.0.0 by eth0",
        "mtu 1400",
    ] {
        look.printed(line)?;
    }
    // Where there are routes, the router that is given besides is none of them (RFC 3442).
    let lines: Vec<_> = look.lines().collect();
    ensure!(
        !lines.iter().any(|line| line.contains("0.0.0.0/0")),
        "{lines:?}"
    );
    Ok(())
}

fn name_of_the_root_is_the_machines(lab: &Lab) -> Result<()> {
    // The server says another.
    let outcome = KEPT.outcome(lab)?;
    Seen::new(&outcome, "look").printed("named box in (none)")
}

fn dnsmasq_gives_the_machine_its_network(lab: &Lab) -> Result<()> {
    let packages = Packages::get("dnsmasq", &["dnsmasq-base"])?;
    let program = "usr/sbin/dnsmasq";
    let mut tree = Tree::new();
    let rootfs = "containers/server/rootfs";
    for file in packages
        .libraries(program)?
        .into_iter()
        .chain([program.to_owned()])
    {
        // A library is a link to its version.
        let real = packages.root.join(&file).canonicalize()?;
        tree = tree.copy(real, format!("{rootfs}/{file}"));
    }
    tree = tree
        .symlink(format!("{rootfs}/lib64"), LIBRARIES)
        .directory(format!("{rootfs}/var/lib/misc"))
        .file(format!("{rootfs}/etc/passwd"), "root:x:0:0::/:/bin/sh\n")
        .file(format!("{rootfs}/etc/group"), "root:x:0:\n");
    let words = [
        "/bin/guest",
        "with-address",
        "eth1",
        "10.9.0.1",
        "/usr/sbin/dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--port=0",
        "--user=root",
        "--group=root",
        "--interface=eth1",
        "--log-facility=-",
        "--log-dhcp",
        "--leasefile-ro",
        "--dhcp-authoritative",
        "--dhcp-range=10.9.0.20,10.9.0.20,255.255.255.0,1h",
        "--dhcp-option=option:router,10.9.0.1",
        "--dhcp-option=option:dns-server,10.9.0.53",
        "--dhcp-option=option:domain-search,a.example,b.example",
        "--dhcp-option=option:mtu,1400",
        "--dhcp-option=option:classless-static-route,192.0.2.0/24,10.9.0.2,0.0.0.0/0,10.9.0.3",
    ];
    let served = server(&[]).runs(words);
    let bundles = [looker("look", &["network", "10.9.0.53"]), served];
    for bundle in bundles {
        tree = bundle.put(tree)?;
    }
    for directory in ["dev", "proc", "run", "sys"] {
        tree = tree.directory(directory);
    }
    let vm = machine_of(lab, "network_dnsmasq", "ip=eth0:dhcp", tree)?
        .arguments(WIRED)
        .start()?;
    vm.expect("look to have seen it", |event| {
        event.is_container("look", "exited")
    })?;
    vm.ctrl_alt_delete()?;
    let outcome = vm.wait()?;
    let look = Seen::new(&outcome, "look");
    for line in [
        "eth0 up 10.9.0.20/24",
        "resolv search a.example b.example",
        "route 0.0.0.0/0 via 10.9.0.3 by eth0",
        "route 192.0.2.0/24 via 10.9.0.2 by eth0",
        "mtu 1400",
    ] {
        look.printed(line)?;
    }
    without_warnings(&outcome)?;
    Ok(outcome.assert(Ended::Reboot, 0)?)
}

fn address_that_another_machine_has_is_declined(lab: &Lab) -> Result<()> {
    let words = ["taken", "lease=600", "offer", "ack", "offer", "ack"];
    let bundles = vec![server(&words), Bundle::new("look"), needy("needs")];
    let vm = machine(lab, "network_taken", "ip=eth0:dhcp", bundles)?
        .arguments(WIRED)
        .start()?;
    let outcome = vm.wait()?;
    let lines: Vec<_> = Seen::new(&outcome, "server").lines().collect();
    let expected = [
        "serving",
        "discover",
        "select 10.9.0.7",
        "decline 10.9.0.7",
        "discover",
        "select 10.9.0.8",
        "served",
    ];
    ensure!(lines == expected, "{lines:?}");
    let addresses: Vec<_> = network(&outcome.events, "configured")
        .into_iter()
        .filter_map(|event| field(event, "address"))
        .collect();
    ensure!(addresses == ["10.9.0.8/24"], "{addresses:?}");
    let is_told = |event: &Event| {
        event.name() == "warning"
            && field(event, "text").is_some_and(|text| {
                text.contains("set up eth0: another machine on the link has 10.9.0.7")
            })
    };
    ensure!(outcome.events.iter().any(is_told), "it was not told");
    needed_the_network(&outcome.events, "needs")?;
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

/// The client is told everything but what is right, hundreds of times, before each right answer.
fn hostile_answers_cost_nothing_but_time(lab: &Lab) -> Result<()> {
    let words = [
        "lease=600",
        "dns=10.9.0.53",
        "stay",
        "noise",
        "offer",
        "noise",
        "ack",
        "noise",
        "ack",
    ];
    let vm = machine(lab, "network_hostile", "ip=eth0:dhcp", vec![server(&words)])?
        .arguments(WIRED)
        .start()?;
    vm.expect("a lease that is kept", |event| {
        let line = berth_tests::line(event).map_or("", |(_, line)| line);
        line.starts_with("renew") || line.starts_with("rebind")
    })?;
    vm.ctrl_alt_delete()?;
    let outcome = vm.wait()?;
    ensure!(!network(&outcome.events, "configured").is_empty());
    for event in outcome
        .events
        .iter()
        .filter(|event| event.name() == "warning")
    {
        // What a lease says that cannot be done is told; no run has ended.
        let text = field(event, "text").unwrap_or_default();
        ensure!(text.contains("[B069]"), "{text}");
    }
    Ok(outcome.assert(Ended::Reboot, 0)?)
}

fn words_set_devices_up_and_those_that_cannot_be_honoured_are_named(lab: &Lab) -> Result<()> {
    let look = looker(
        "look",
        &["network", "192.0.2.53", "2001:db8::7/64", "198.51.100.7/24"],
    )
    .namespaces(&["mount"])
    .set("/hostname", Value::Null);
    let words = "ip=192.0.2.7::192.0.2.1:25:box.example:eth0:none:1400 \
                 ip=[2001:db8::7]::[fe80::1]:64::eth0:none nameserver=192.0.2.53 \
                 nameserver=nonsense ip=eth0:rarp ip=198.51.100.7 \
                 ifname=lan0:52:54:00:00:00:01";
    let vm = machine(lab, "network_words", words, vec![look, needy("needs")])?
        .arguments(WIRED)
        .start()?;
    let outcome = vm.wait()?;
    needed_the_network(&outcome.events, "needs")?;
    let look = Seen::new(&outcome, "look");
    for line in [
        "resolv nameserver 192.0.2.53",
        "eth0 up 192.0.2.7/25 2001:db8::7/64",
        "eth1 up 198.51.100.7/24",
        "route 0.0.0.0/0 via 192.0.2.1 by eth0",
        "mtu 1400",
        "named box in example",
    ] {
        look.printed(line)?;
    }
    let warnings = warnings(&outcome);
    let expected = [
        "read nameserver=nonsense: \"nonsense\" is no address of a machine  [B068]",
        "read ip=eth0:rarp: \"rarp\" is not supported  [B068]",
        "read ifname=lan0:52:54:00:00:00:01: devices keep the names that the kernel gives them, \
         which are those for ip=  [B068]",
    ];
    ensure!(warnings == expected, "{warnings:?}");
    ensure!(network(&outcome.events, "ready").len() == 1);
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}

fn device_that_comes_late_is_set_up_then(lab: &Lab) -> Result<()> {
    let vm = machine(
        lab,
        "network_late",
        "ip=eth1:dhcp berth.on_idle=wait",
        vec![Bundle::new("look"), needy("needs")],
    )?
    .arguments(["-netdev", "user,id=now", "-netdev", "user,id=late"])
    .arguments(["-device", "virtio-net-pci,netdev=now,ioeventfd=off"])
    .start()?;
    vm.expect("that it is missed", |event| {
        field(event, "text").is_some_and(|text| text.contains("eth1: there is no such device yet"))
    })?;
    let waits = vm.expect("needs to wait", |event| {
        event.is_container("needs", "waiting")
    })?;
    ensure!(field(&waits, "failure") == Some("B059"), "{:?}", waits.raw);
    let device =
        json!({ "driver": "virtio-net-pci", "id": "late0", "netdev": "late", "ioeventfd": false });
    vm.plug_device(device)?;
    let configured = vm.expect("eth1 to have an address", |event| {
        event.name() == "network" && field(event, "state") == Some("configured")
    })?;
    ensure!(
        field(&configured, "device") == Some("eth1"),
        "{:?}",
        configured.raw
    );
    vm.expect("needs to have run", |event| {
        event.is_container("needs", "exited")
    })?;
    vm.unplug("late0")?;
    vm.expect("eth1 to go", |event| {
        event.name() == "network" && field(event, "state") == Some("lost")
    })?;
    vm.ctrl_alt_delete()?;
    Ok(vm.wait()?.assert(Ended::Reboot, 0)?)
}

fn containers_that_require_the_network_are_started_when_it_is_there(lab: &Lab) -> Result<()> {
    let outcome = USER.outcome(lab)?;
    needed_the_network(&outcome.events, "needs")?;
    // It is in time.
    let waits = |event: &Event| event.is_container("needs", "waiting");
    ensure!(!outcome.events.iter().any(waits));
    Seen::new(&outcome, "needs").exited(0)
}

/// A server that says nothing to the first messages.
fn containers_that_require_a_network_that_is_late_are_named_and_started_then(
    lab: &Lab,
) -> Result<()> {
    let words = [
        "lease=600",
        "silence",
        "silence",
        "silence",
        "silence",
        "silence",
        "offer",
        "ack",
    ];
    let bundles = vec![
        server(&words),
        Bundle::new("look"),
        needy("needs"),
        needy("needs-more").annotation("berth.requires", "network,needs"),
    ];
    let vm = machine(lab, "network_silent", "ip=eth0:dhcp", bundles)?
        .arguments(WIRED)
        .start()?;
    let outcome = vm.wait()?;
    for id in ["needs", "needs-more"] {
        let waits: Vec<_> = outcome
            .events
            .iter()
            .filter(|event| event.is_container(id, "waiting"))
            .collect();
        let [event] = waits[..] else {
            bail!("{waits:?}");
        };
        let expected = format!(
            "wait for network, which {id} requires: {id} is not started yet: \
             not all that ip= asks for is there  [B059]"
        );
        ensure!(field(event, "failure") == Some("B059"), "{:?}", event.raw);
        ensure!(field(event, "text") == Some(&*expected), "{:?}", event.raw);
        needed_the_network(&outcome.events, id)?;
        Seen::new(&outcome, id).exited(0)?;
    }
    Ok(outcome.assert(Ended::PowerOff, 0)?)
}
