//! Looking into the machine, and steering it, from the host: over the port of its control.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use berth_qemu::control::{Client, INPUT_MAX, MESSAGE_MAX, Ran, Reply, input};
use berth_qemu::disk::Fs;
use berth_qemu::vm::{Ended, Vm};
use berth_tests::{Bundle, Lab, disk};
use serde_json::{Value, json};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere host_looks_into_the_machine_and_steers_it,
    everywhere host_runs_programs_in_containers,
    everywhere clients_of_the_port_that_are_broken_or_gone_cost_nobody_else_anything,
];

/// How long something may take that a container does by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many bytes a pipe holds (pipe(7)).
const PIPE: usize = 65_536;

/// A container whose program is a script of busybox' shell.
fn shell(id: &str, script: &str) -> Bundle {
    Bundle::new(id).runs(["/bin/busybox", "sh", "-c", script])
}

/// Says that it is ready, stays, and says when it is told to stop.
fn web() -> Bundle {
    let script = "trap 'echo told to stop; exit 0' TERM; echo ready; echo and waits >&2
        while :; do busybox sleep 0.2; done";
    shell("web", script)
        .annotation("berth.restart", "always")
        .annotation("berth.stop-timeout", "5")
}

/// Boots these bundles, which have busybox.
fn boot(lab: &Lab, name: &str, bundles: Vec<Bundle>) -> Result<Vm> {
    let tree = disk::files_with_busybox(bundles)?;
    let root = disk::of(Fs::ext4(disk::LABEL, disk::EXT4_UUID, tree).mib(120))?;
    let vm = lab
        .machine(name)?
        .append("root=/dev/vda1")
        .blk(&root)
        .control()
        .start()?;
    vm.expect("web to run", |event| {
        berth_tests::line(event) == Some(("web", "ready"))
    })?;
    Ok(vm)
}

/// What a failed check was about, and the machine's last words.
fn checked<T>(vm: &Vm, what: &str, result: Result<T>) -> Result<T> {
    result.map_err(|error| vm.failure(what, format!("{error:#}")).into())
}

fn row(client: &mut Client, id: &str) -> Result<Value> {
    let rows = client.ask(json!({ "do": "list" }))?;
    let row = rows.iter().find(|row| row["id"] == id).cloned();
    row.with_context(|| format!("{id} is not listed: {rows:?}"))
}

fn host_looks_into_the_machine_and_steers_it(lab: &Lab) -> Result<()> {
    let operator = shell("operator", "exec busybox sleep 100000")
        .set("/hostname", Value::Null)
        .namespaces(&["mount"])
        .mount("/containers", "", "/containers", &["rbind"])
        .directory("containers");
    let vm = boot(lab, "host_looks_into_the_machine", vec![web(), operator])?;
    let mut client = vm.control()?;
    checked(&vm, "the machine to be seen", look(&mut client))?;
    checked(&vm, "web to stop and to start", stop_and_start(&mut client))?;
    checked(&vm, "a bundle that comes late", late(&mut client))?;
    checked(
        &vm,
        "requests to be answered in order",
        in_order(&mut client),
    )?;
    let end = client.ask(json!({ "do": "poweroff" }));
    checked(&vm, "the end", end)?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let states: Vec<_> = outcome
        .events
        .iter()
        .filter(|event| event.raw["id"] == "web" && event.name() == "container")
        .filter_map(|event| event.raw["state"].as_str())
        .collect();
    // Stopped, which stays so in spite of its policy, and started; restarted; killed, and started
    // again by its policy; and the end.
    let expected = "started exited stopped started exited restarting started exited restarting \
        started exited";
    let states = states.join(" ");
    ensure!(states == expected, "{states:?}");
    let times: Vec<_> = outcome.events.iter().map(|event| event.t).collect();
    ensure!(times.is_sorted(), "the events are out of order: {times:?}");
    Ok(())
}

fn look(client: &mut Client) -> Result<()> {
    let web = row(client, "web")?;
    ensure!(web["state"] == "running" && web["restarts"] == 0, "{web}");
    ensure!(web["pid"].as_u64() > Some(1), "{web}");
    ensure!(web["bundle"] == "/containers/web", "{web}");
    ensure!(web["image"] == "/containers/web/rootfs", "{web}");
    ensure!(web["memory"].is_u64() && web["since"].is_u64(), "{web}");
    let lines = client.ask(json!({ "do": "list", "text": true }))?;
    let lines: Vec<_> = lines.iter().map(|line| line["text"].as_str()).collect();
    let (head, rest) = lines.split_first().context("no lines")?;
    ensure!(
        head.is_some_and(|head| head.starts_with("ID ")),
        "{lines:?}"
    );
    ensure!(
        rest.iter().flatten().any(|line| line.starts_with("web ")),
        "{lines:?}"
    );

    let lines = client.ask(json!({ "do": "logs", "container": "web" }))?;
    let line = |line: &Value| {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        (text("stream"), text("line"))
    };
    let mut printed: Vec<_> = lines.iter().map(line).collect();
    printed.sort();
    let expected = [("stderr", "and waits"), ("stdout", "ready")];
    ensure!(
        printed == expected.map(|(stream, line)| (stream.to_owned(), line.to_owned())),
        "{lines:?}"
    );
    let last = client.ask(json!({ "do": "logs", "container": "web", "lines": 1 }))?;
    ensure!(
        last.len() == 1 && Some(&last[0]) == lines.last(),
        "{last:?}"
    );

    let boot = client.ask(json!({ "do": "boot" }))?;
    ensure!(
        boot.len() == 1 && boot[0]["total"].as_u64() > boot[0]["root"].as_u64(),
        "{boot:?}"
    );
    let events = client.ask(json!({ "do": "events" }))?;
    let names: Vec<_> = events
        .iter()
        .filter_map(|event| event["event"].as_str())
        .collect();
    ensure!(
        names.contains(&"switch") && names.contains(&"container"),
        "{names:?}"
    );
    let mounts = client.ask(json!({ "do": "mounts", "container": "web" }))?;
    ensure!(!mounts.is_empty() && mounts.iter().all(|mount| mount["container"] == "web"));
    ensure!(
        mounts.iter().any(|mount| mount["target"] == "/"),
        "{mounts:?}"
    );
    let all = client.ask(json!({ "do": "mounts" }))?;
    ensure!(all.iter().any(|mount| mount["container"] == ""), "{all:?}");
    Ok(())
}

fn stop_and_start(client: &mut Client) -> Result<()> {
    let first = row(client, "web")?["pid"].clone();
    client.ask(json!({ "do": "stop", "container": "web" }))?;
    // It has ended by the time of the answer.
    let stopped = row(client, "web")?;
    ensure!(
        stopped["state"] == "stopped" && stopped["pid"] == 0,
        "{stopped}"
    );
    let last = client.ask(json!({ "do": "logs", "container": "web", "lines": 1 }))?;
    ensure!(last[0]["line"] == "told to stop", "{last:?}");
    client.ask(json!({ "do": "start", "container": "web" }))?;
    let second = row(client, "web")?;
    ensure!(
        second["state"] == "running" && second["pid"] != first,
        "{second}"
    );
    client.ask(json!({ "do": "restart", "container": "web" }))?;
    let third = row(client, "web")?;
    ensure!(
        third["state"] == "running" && third["pid"] != second["pid"],
        "{third}"
    );
    // Its policy starts it again.
    client.ask(json!({ "do": "kill", "container": "web", "signal": "KILL" }))?;
    let mut is_behind = false;
    follow(client, json!({ "do": "events" }), |event| {
        is_behind |= event["state"] == "restarting" && event["count"] == 1;
        is_behind && event["id"] == "web" && event["state"] == "started"
    })?;
    let fourth = row(client, "web")?;
    ensure!(
        fourth["restarts"] == 1 && fourth["state"] == "running",
        "{fourth}"
    );
    for (request, code) in [
        (json!({ "do": "start", "container": "web" }), "B073"),
        (json!({ "do": "stop", "container": "wep" }), "B072"),
        (json!({ "do": "logs", "container": "wep" }), "B072"),
        (
            json!({ "do": "kill", "container": "web", "signal": "NONE" }),
            "B070",
        ),
    ] {
        let refusal = client.refused(request)?;
        ensure!(
            refusal.code == code && !refusal.text.is_empty(),
            "{code}: {refusal:?}"
        );
    }
    Ok(())
}

/// Follows what that request shows, from its beginning, until it is there.
fn follow(
    client: &mut Client,
    mut request: Value,
    mut is_it: impl FnMut(&Value) -> bool,
) -> Result<()> {
    request["follow"] = true.into();
    let id = client.begin(request)?;
    loop {
        match client.next(id)? {
            Reply::More(more) if is_it(&serde_json::from_str(more.get())?) => break,
            Reply::More(_) => {}
            other => bail!("it has ended: {other:?}"),
        }
    }
    client.begin(json!({ "do": "cancel", "for": id }))?;
    let end = client.finish(id)?.end;
    ensure!(end == Ok(json!({})), "{end:?}");
    Ok(())
}

fn late_saying(what: &str) -> String {
    format!("trap 'exit 0' TERM; echo {what}; while :; do busybox sleep 0.2; done")
}

/// A bundle that is written from outside, into the machine that runs.
fn late(client: &mut Client) -> Result<()> {
    let config = shell("late", &late_saying("I came late")).config();
    let script = "set -e; cd /containers; busybox mkdir -p late/rootfs; cd late
        for directory in bin dev proc sys tmp; do busybox mkdir rootfs/$directory; done
        busybox cp /containers/web/rootfs/bin/busybox rootfs/bin
        busybox cat > config.json";
    let ran = run(client, "operator", script, &config)?;
    ensure!(ran.status == 0, "{ran:?}");
    client.ask(json!({ "do": "start", "container": "late" }))?;
    ensure!(row(client, "late")?["state"] == "running");
    let logs = || json!({ "do": "logs", "container": "late" });
    follow(client, logs(), |line| line["line"] == "I came late")?;
    // What it is now is what is read.
    let config = shell("late", &late_saying("changed")).config();
    let ran = run(
        client,
        "operator",
        "busybox cat > /containers/late/config.json",
        &config,
    )?;
    ensure!(ran.status == 0, "{ran:?}");
    client.ask(json!({ "do": "restart", "container": "late" }))?;
    follow(client, logs(), |line| line["line"] == "changed")
}

fn in_order(client: &mut Client) -> Result<()> {
    let list = || json!({ "do": "kill", "container": "web", "signal": "CONT" });
    let asked = (0..200)
        .map(|_| client.begin(list()))
        .collect::<Result<Vec<_>>>()?;
    for id in asked {
        let (answered, reply) = client.next_of_all()?;
        ensure!(
            answered == id && matches!(reply, Reply::Ok(_)),
            "{id}: {reply:?}"
        );
    }
    Ok(())
}

/// Runs a script in a container.
fn run(client: &mut Client, container: &str, script: &str, bytes: &[u8]) -> Result<Ran> {
    let args = ["/bin/busybox", "sh", "-c", script];
    client.exec(json!({ "container": container, "args": args }), bytes)
}

fn host_runs_programs_in_containers(lab: &Lab) -> Result<()> {
    let web = web().mount(
        "/dev/pts",
        "devpts",
        "devpts",
        &["newinstance", "ptmxmode=0666"],
    );
    let vm = boot(lab, "host_runs_programs", vec![web])?;
    let mut client = vm.control()?;
    checked(&vm, "programs to run", programs(&mut client))?;
    checked(&vm, "a megabyte each way", megabyte(&mut client))?;
    checked(&vm, "a terminal", terminal(&mut client))?;
    checked(&vm, "programs to be cancelled", cancelled(&mut client))?;
    checked(&vm, "the end", client.ask(json!({ "do": "reboot" })))?;
    Ok(vm.wait()?.assert(Ended::Reboot, 0)?)
}

fn programs(client: &mut Client) -> Result<()> {
    let ran = run(client, "web", "echo out; echo err >&2; exit 3", b"")?;
    let expected = Ran {
        stdout: b"out\n".to_vec(),
        stderr: b"err\n".to_vec(),
        status: 3,
    };
    ensure!(ran == expected, "{ran:?}");
    ensure!(run(client, "web", "kill -9 $$", b"")?.status == 137);
    let request = json!({
        "container": "web", "args": ["/bin/busybox", "sh", "-c", "pwd; echo $A; busybox id -u"],
        "cwd": "/tmp", "env": ["A=x  \"y\""], "user": "1000",
    });
    let ran = client.exec(request, b"")?;
    ensure!(
        ran.stdout == b"/tmp\nx \"y\"\n1000\n" || ran.stdout == b"/tmp\nx  \"y\"\n1000\n",
        "{ran:?}"
    );
    // What a terminal would not take, and no text is.
    let bytes: Vec<u8> = (0..=255).collect();
    ensure!(run(client, "web", "busybox cat", &bytes)?.stdout == bytes);
    for (args, code, status) in [
        (json!(["/bin/nothing"]), "B054", Some(127)),
        (json!(["/dev/null"]), "B054", Some(126)),
    ] {
        let refusal = client.refused(json!({ "do": "exec", "container": "web", "args": args }))?;
        ensure!(
            (refusal.code.as_str(), refusal.status) == (code, status),
            "{refusal:?}"
        );
    }
    Ok(())
}

fn megabyte(client: &mut Client) -> Result<()> {
    let mut seed = 0xb0a7_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| random(&mut seed).to_le_bytes())
        .take(1 << 17)
        .flatten()
        .collect();
    let ran = run(client, "web", "exec busybox tee /tmp/sent", &bytes)?;
    ensure!(
        ran.status == 0 && ran.stdout == bytes,
        "{} bytes came back",
        ran.stdout.len()
    );
    let ran = run(client, "web", "exec busybox cmp /tmp/sent -", &bytes);
    // What is in the machine is what was sent: busybox compares it with what is sent once more.
    let ran = ran?;
    ensure!(ran.status == 0 && ran.stdout.is_empty(), "{ran:?}");
    Ok(())
}

/// Numbers that look like chance and are the same each time (xorshift64).
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// A program on a terminal.
struct OnTerminal<'c> {
    client: &'c mut Client,
    id: u64,
    shown: String,
}

impl<'c> OnTerminal<'c> {
    fn start(client: &'c mut Client, script: &str) -> Result<Self> {
        let id = client.begin(json!({
            "do": "exec", "container": "web", "args": ["/bin/busybox", "sh", "-c", script],
            "tty": true, "rows": 33, "columns": 101,
        }))?;
        Ok(Self {
            client,
            id,
            shown: String::new(),
        })
    }

    /// Waits until this was shown.
    fn shows(&mut self, text: &str) -> Result<()> {
        while !self.shown.contains(text) {
            match self.client.next(self.id)? {
                Reply::More(more) => {
                    let more = serde_json::from_str(more.get())?;
                    let bytes = berth_qemu::control::bytes_of(&more, "stdout")?;
                    self.shown.push_str(&String::from_utf8(bytes)?);
                }
                other => bail!("{other:?} after {:?}", self.shown),
            }
        }
        Ok(())
    }

    fn types(&mut self, keys: &[u8]) -> Result<()> {
        self.client.ask(input(self.id, keys))?;
        Ok(())
    }

    fn status(self) -> Result<Option<i64>> {
        let end = self.client.finish(self.id)?.end;
        let end = end.map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
        Ok(end["status"].as_i64())
    }
}

fn terminal(client: &mut Client) -> Result<()> {
    let mut size = OnTerminal::start(
        client,
        "busybox tty; busybox stty size; read line; busybox stty size; echo \"got $line\"; exit 5",
    )?;
    size.shows("33 101\r\n")?;
    ensure!(size.shown.contains("/dev/"), "{:?}", size.shown);
    size.client
        .begin(json!({ "do": "resize", "for": size.id, "rows": 50, "columns": 132 }))?;
    size.types(b"hello\r")?;
    size.shows("50 132\r\ngot hello\r\n")?;
    ensure!(size.status()? == Some(5));

    let script = "trap 'echo caught; exit 42' INT; echo re''ady; while :; do busybox sleep 1; done";
    let mut keys = OnTerminal::start(client, script)?;
    keys.shows("ready")?;
    keys.types(b"\x03")?;
    keys.shows("caught")?;
    ensure!(keys.status()? == Some(42));

    let mut end = OnTerminal::start(client, "echo re''ady; cat; echo over")?;
    end.shows("ready")?;
    end.types(b"\x04")?;
    end.shows("over")?;
    ensure!(end.status()? == Some(0));
    Ok(())
}

fn cancelled(client: &mut Client) -> Result<()> {
    let request = |seconds| json!({ "do": "exec", "container": "web", "args": ["/bin/busybox", "sleep", seconds] });
    let id = client.begin(request("4321"))?;
    client.begin(json!({ "do": "cancel", "for": id }))?;
    ensure!(client.finish(id)?.end.is_ok(), "it was not cancelled");
    is_gone(client, "sleep 4321")?;
    // Of a request that is not there, nothing is cancelled.
    client.begin(json!({ "do": "cancel", "for": id }))?;
    ensure!(run(client, "web", "echo well", b"")?.stdout == b"well\n");
    Ok(())
}

/// Waits until no process of `web` has these words.
fn is_gone(client: &mut Client, words: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        let ran = client.exec(
            json!({ "container": "web", "args": ["/bin/busybox", "ps", "-o", "args"] }),
            b"",
        )?;
        let processes = String::from_utf8_lossy(&ran.stdout).into_owned();
        ensure!(
            ran.status == 0 && processes.contains("ps -o args"),
            "{ran:?}"
        );
        if !processes.contains(words) {
            return Ok(());
        }
        ensure!(
            began.elapsed() < PATIENCE,
            "{words} is still there: {processes}"
        );
    }
}

fn clients_of_the_port_that_are_broken_or_gone_cost_nobody_else_anything(lab: &Lab) -> Result<()> {
    let vm = boot(lab, "broken_clients", vec![web()])?;
    checked(&vm, "messages to be refused", refused(&mut vm.control()?))?;
    checked(&vm, "garbage to be refused", garbage(&mut vm.control()?))?;
    checked(&vm, "clients that vanish to be forgotten", vanishing(&vm))?;
    checked(&vm, "a client that does not read", greedy(&vm))?;
    let mut last = vm.control()?;
    ensure!(row(&mut last, "web")?["restarts"] == 0);
    checked(&vm, "the end", last.ask(json!({ "do": "poweroff" })))?;
    let outcome = vm.wait()?;
    outcome.assert(Ended::PowerOff, 0)?;
    let times: Vec<_> = outcome.events.iter().map(|event| event.t).collect();
    ensure!(times.is_sorted(), "the events are out of order: {times:?}");
    let is_trouble = |name: &str| matches!(name, "warning" | "failure");
    let trouble = outcome.events.iter().find(|event| is_trouble(event.name()));
    ensure!(trouble.is_none(), "{trouble:?}");
    Ok(())
}

/// Sends a line as it is, and waits for its refusal.
fn is_refused(client: &mut Client, line: &[u8], id: u64) -> Result<()> {
    client.sender().send_bytes(&[line, b"\n"].concat())?;
    let shown = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
    match client.next_of_all()? {
        (found, Reply::Refused(refusal)) if found == id && refusal.code == "B070" => Ok(()),
        other => bail!("{shown}: {other:?}"),
    }
}

fn refused(client: &mut Client) -> Result<()> {
    // So the answers that follow are known to be its own.
    client.ask(json!({ "do": "list" }))?;
    for line in [
        &b"{"[..],
        b"[]",
        b"nothing",
        b"{}",
        b"\0\x01\xff\xfe",
        br#"{"id":-1,"do":"list"}"#,
        br#"{"id":"1","do":"list"}"#,
        br#"{"id":9007199254740992,"do":"list"}"#,
        br#"{"id":1.5,"do":"list"}"#,
        br#"{"id":1,"do":"list"} {"id":2,"do":"list"}"#,
    ] {
        is_refused(client, line, 0)?;
    }
    let id = client.begin(json!({ "do": "no-such-thing" }))?;
    ensure!(matches!(client.next(id)?, Reply::Refused(refusal) if refusal.code == "B070"));
    for request in [
        json!({}),
        json!({ "do": 7 }),
        json!({ "do": "run" }),
        json!({ "do": "pid1-control" }),
        json!({ "do": "stop" }),
        json!({ "do": "stop", "container": 7 }),
        json!({ "do": "cancel" }),
        json!({ "do": "input", "for": 1 }),
        json!({ "do": "resize", "for": 1, "rows": 70_000, "columns": 1 }),
        json!({ "do": "exec", "container": "web", "args": "sh" }),
        json!({ "do": "exec", "container": "web", "args": [["sh"]] }),
    ] {
        let refusal = client.refused(request.clone())?;
        ensure!(refusal.code == "B070", "{request}: {refusal:?}");
    }
    // A container's name is no option, and no path.
    for container in ["--all", "../web", "", "web\0", "web\n"] {
        client.refused(json!({ "do": "stop", "container": container }))?;
    }
    // The longest message, and one byte more.
    let long = |length: usize| {
        let text = json!({ "id": 7, "do": "list" }).to_string();
        format!("{text}{}", " ".repeat(length - text.len()))
    };
    is_refused(client, long(MESSAGE_MAX + 1).as_bytes(), 0)?;
    is_refused(client, &vec![b'x'; 1 << 20], 0)?;
    let id = client.begin(json!({ "do": "list", "x": "x".repeat(MESSAGE_MAX - 60) }))?;
    ensure!(client.finish(id)?.end.is_ok());
    Ok(())
}

fn garbage(client: &mut Client) -> Result<()> {
    let mut seed = 0x5eed_u64;
    for _ in 0..8 {
        let noise = std::iter::repeat_with(|| random(&mut seed).to_le_bytes());
        let mut noise: Vec<u8> = noise.take(1 << 10).flatten().collect();
        noise.push(b'\n');
        client.sender().send_bytes(&noise)?;
        // Messages of which one byte is another.
        for verb in ["list", "logs", "boot", "cancel"] {
            let message = json!({ "id": 0, "do": verb, "container": "web", "for": 1 });
            let mut message = message.to_string().into_bytes();
            let at = random(&mut seed) as usize % message.len();
            message[at] = random(&mut seed) as u8;
            message.push(b'\n');
            client.sender().send_bytes(&message)?;
        }
        client.ask(json!({ "do": "list" }))?;
    }
    Ok(())
}

fn vanishing(vm: &Vm) -> Result<()> {
    for round in 0..20 {
        let mut client = vm.control()?;
        let follow = json!({ "do": "logs", "container": "web", "follow": true });
        let follow = client.begin(follow)?;
        if round % 2 == 0 {
            client.next(follow)?;
        }
        drop(client);
        row(&mut vm.control()?, "web").with_context(|| format!("round {round} of logs"))?;
    }
    for round in 0..5 {
        let mut client = vm.control()?;
        let id = client.begin(json!({
            "do": "exec", "container": "web", "args": ["/bin/busybox", "sleep", "1234"],
        }))?;
        // As much as its pipe takes, of which it reads nothing, and more.
        if round > 0 {
            for _ in 0..PIPE / INPUT_MAX {
                client.request(input(id, &[b'x'; INPUT_MAX]))?;
            }
            client.begin(input(id, &[b'x'; INPUT_MAX]))?;
        }
        // What it does not read does not hold up its end.
        if round > 2 {
            client.begin(json!({ "do": "cancel", "for": id }))?;
            ensure!(client.finish(id)?.end.is_ok(), "it was not cancelled");
        }
        drop(client);
        let gone = is_gone(&mut vm.control()?, "sleep 1234");
        gone.with_context(|| format!("round {round} of exec"))?;
    }
    // In the middle of a line.
    let client = vm.control()?;
    client
        .sender()
        .send_bytes(br#"{"id":1,"do":"stop","container":"we"#)?;
    drop(client);
    row(&mut vm.control()?, "web")?;
    Ok(())
}

/// It asks for much, and reads it only when it has all been asked for.
fn greedy(vm: &Vm) -> Result<()> {
    let mut client = vm.control()?;
    let args = [
        "/bin/busybox",
        "sh",
        "-c",
        "exec busybox dd if=/dev/zero bs=4096 count=256 2>/dev/null",
    ];
    let zeros = client.begin(json!({ "do": "exec", "container": "web", "args": args }))?;
    let list = client.begin(json!({ "do": "list" }))?;
    // PID 1 goes on meanwhile.
    vm.expect("web to run", |event| event.is_container("web", "started"))?;
    let mut length = 0;
    for more in client.finish(zeros)?.more {
        length += berth_qemu::control::bytes_of(&more, "stdout")?.len();
    }
    ensure!(length == 1 << 20, "{length} bytes");
    ensure!(client.finish(list)?.end.is_ok());
    Ok(())
}
