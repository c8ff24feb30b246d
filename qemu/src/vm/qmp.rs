//! QEMU's machine protocol: commands out, answers and events in.
//!
//! The commands and events are the types of the `qapi-qmp` crate, generated from QEMU's own schema.
//! What is here is the wire: one JSON object a line, answers in the order of the commands, events
//! between them at any time. See QEMU's `docs/interop/qmp-spec`.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use qapi_qmp::{Event, IoOperationType, QmpCommand, blockdev_add, device_add};
use qapi_spec::{Any, Dictionary, Execute, Response};
use serde_json::Value;

use super::watch::Watch;

/// QEMU answers at once, unless its main loop hangs.
const ANSWER: Duration = Duration::from_secs(30);

/// The harness' end of the protocol.
pub(crate) struct Qmp {
    /// Held from a command to its answer, since answers carry no name.
    wire: Mutex<(UnixStream, Receiver<Response<Any>>)>,
}

impl Qmp {
    /// The ends for a connected stream: one sends commands, the other is to be run in a thread and
    /// reads until QEMU hangs up. It tells `stops` each time the machine has been stopped from
    /// within.
    pub(crate) fn new(
        stream: UnixStream,
        watch: Arc<Watch>,
        stops: Sender<()>,
    ) -> io::Result<(Self, impl FnOnce() + Send)> {
        let (answers, receiver) = mpsc::channel();
        let reader = BufReader::new(stream.try_clone()?);
        let read = move || {
            // QEMU that dies resets the connection: an end like another.
            for line in reader.lines().map_while(io::Result::ok) {
                take(&line, &answers, &watch, &stops);
            }
        };
        Ok((
            Self {
                wire: Mutex::new((stream, receiver)),
            },
            read,
        ))
    }

    /// Runs one command and returns its answer.
    pub(crate) fn execute<C: QmpCommand>(&self, command: C) -> Result<C::Ok> {
        let wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut stream, answers) = (&wire.0, &wire.1);
        let mut line = serde_json::to_vec(&Execute::<C>::with_command(command))?;
        line.push(b'\n');
        stream
            .write_all(&line)
            .with_context(|| format!("QMP {}", C::NAME))?;
        let answer = answers
            .recv_timeout(ANSWER)
            .with_context(|| format!("QMP {}: QEMU does not answer", C::NAME))?;
        let value = answer
            .result()
            .map_err(|e| anyhow!("QMP {}: {e}", C::NAME))?;
        serde_json::from_value(value).with_context(|| format!("QMP {}: its answer", C::NAME))
    }

    /// Plugs a disk in: its storage, and the device in front of it.
    pub(crate) fn plug(&self, storage: Value, device: Value) -> Result<()> {
        self.add_storage(storage)?;
        self.plug_device(device)
    }

    /// Adds the storage of a disk or of a medium.
    pub(crate) fn add_storage(&self, storage: Value) -> Result<()> {
        let storage: blockdev_add = serde_json::from_value(storage)?;
        self.execute(storage)?;
        Ok(())
    }

    /// Plugs a device in.
    pub(crate) fn plug_device(&self, device: Value) -> Result<()> {
        self.execute(device_of(device)?)?;
        Ok(())
    }
}

/// QMP's form of a device.
fn device_of(device: Value) -> Result<device_add> {
    let mut arguments: Dictionary = serde_json::from_value(device)?;
    let mut take = |key: &str| match arguments.remove(key) {
        Some(Value::String(value)) => Some(value),
        _ => None,
    };
    let driver = take("driver").context("a device without a driver")?;
    let (id, bus) = (take("id"), take("bus"));
    Ok(device_add::new(driver, id, bus, arguments))
}

/// One line from QEMU. The greeting, and events of a newer QEMU than the schema's, are no news.
fn take(line: &str, answers: &Sender<Response<Any>>, watch: &Watch, stops: &Sender<()>) {
    let Ok(message) = serde_json::from_str::<Value>(line) else {
        return;
    };
    if message.get("event").is_some() {
        match serde_json::from_value(message) {
            Ok(Event::SHUTDOWN { data, .. }) => watch.add(|seen| seen.shutdown = Some(data.reason)),
            // QEMU stops the machine at once. A read that fails is the tripwire of a disk that
            // arrives.
            Ok(Event::BLOCK_IO_ERROR { data, .. })
                if matches!(data.operation, IoOperationType::write) =>
            {
                let what = format!("a disk cannot be written: {}", data.reason);
                watch.add(|seen| seen.set_broken(what));
            }
            Ok(Event::DEVICE_DELETED { data, .. }) => {
                watch.add(|seen| seen.gone.extend(data.device));
            }
            Ok(Event::MIGRATION { data, .. }) => {
                watch.add(|seen| seen.migration = Some(data.status));
            }
            // Nobody waits once all disks are there.
            Ok(Event::STOP { .. }) => drop(stops.send(())),
            _ => (),
        }
    } else if message.get("QMP").is_none()
        && let Ok(answer) = serde_json::from_value(message)
    {
        // Nobody waits any longer once the machine is being dropped.
        let _ = answers.send(answer);
    }
}
