//! Runs inside the virtual machines of the tests, as the program of a container or as `init=`, and
//! prints what it sees. `guest <what> [arguments]`, or `/prepare` before berth; it is linked
//! statically, because there is nothing else where it runs.

mod agent;
mod attempts;
mod broken;
mod calls;
mod command;
mod compare;
mod copies;
mod cuts;
mod devices;
mod disks;
mod engine;
mod escapes;
mod facts;
mod groups;
mod hold;
mod hook;
mod host;
mod hostile;
mod inherited;
mod init;
mod interfaces;
mod layers;
mod limits;
mod mountat;
mod network;
mod operate;
mod prepare;
mod process;
mod propagation;
mod ready;
mod rights;
mod soak;
mod spy;
mod steer;
mod subtrees;
mod unprivileged;
mod volumes;

use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let result = match arguments.first() {
        Some(name) if name == prepare::NAME => prepare::run(&words),
        Some(name) if name == "ps" => facts::processes(&words),
        Some(name) if name == "berth" => broken::run(&words),
        _ => run(&words),
    };
    match result {
        Ok(status) => status,
        Err(error) => {
            println!("guest: {}: {error:#}", words.join(" "));
            ExitCode::from(99)
        }
    }
}

fn run(words: &[&str]) -> Result<ExitCode> {
    match words {
        ["kill-after", victim, seconds] => broken::kill_after(victim, seconds)?,
        ["make-orphan"] => broken::make_orphan()?,
        ["nothing-left", places @ ..] => broken::wait_until_nothing_is_left(places)?,
        ["operate", id] => operate::run(id)?,
        ["soak", words @ ..] => soak::conduct(words)?,
        ["keep-writing", directory] => cuts::keep_writing(Path::new(directory))?,
        ["keep-writing", "to-disk", name] => cuts::keep_writing(&disks::wait_for(name)?)?,
        ["steer-machine"] => steer::run()?,
        ["connect", path] => steer::connect(path)?,
        ["say-and-stay", lines @ ..] => {
            lines.iter().for_each(|line| println!("{line}"));
            loop {
                std::thread::park();
            }
        }
        ["say", text @ ..] => println!("{}", text.join(" ")),
        ["draw"] => copies::draw()?,
        ["set-clock", seconds] => copies::set_clock(seconds)?,
        ["show", file] => print!("{}", std::fs::read_to_string(file)?),
        ["leave", file, text] => {
            std::fs::write(file, text)?;
            println!("left {}", std::fs::read_to_string(file)?);
        }
        ["hook", name, words @ ..] => return Ok(ExitCode::from(hook::run(name, words)?)),
        ["wait-for", file] => hook::wait_for(file),
        ["conduct"] => engine::conduct()?,
        ["on-terminal"] => engine::on_terminal()?,
        ["namespaces", topic] => facts::namespaces(topic, "self")?,
        ["identity"] => facts::identity()?,
        ["clocks"] => facts::clocks(),
        ["exit", status] => return Ok(ExitCode::from(status.parse::<u8>()?)),
        ["attempt", number, file] => return attempts::attempt(number.parse()?, file),
        ["attempt-and-leave", number, file] => {
            attempts::leave()?;
            return attempts::attempt(number.parse()?, file);
        }
        ["copy"] => facts::copy()?,
        ["append", file, text] => facts::append(file, text)?,
        ["terminal"] => facts::terminal()?,
        ["command-list"] => command::list()?,
        ["command-cases", berth, directory, names @ ..] => {
            return command::run(Path::new(berth), Path::new(directory), names);
        }
        ["many", berth, image, count] => {
            command::many(Path::new(berth), Path::new(image), count.parse()?)?;
        }
        ["init", "command-cases", berth, directory] => init::command_cases(berth, directory)?,
        ["init", words @ ..] => init::run(words)?,
        ["report", program, words @ ..] => init::report(program, words)?,
        ["compare"] => compare::conduct()?,
        ["filter", config] => compare::print_filter(config)?,
        ["power-off"] => init::power_off()?,
        ["hold-first"] => host::hold_first()?,
        ["rest", seconds] => std::thread::sleep(Duration::from_secs(seconds.parse()?)),
        ["describe-host"] => host::describe()?,
        ["leave-devices", disk, image] => devices::leave(disk, image)?,
        ["lose-filesystems", ext4, vfat] => devices::lose(ext4, vfat)?,
        ["load-kernel", kernel, initramfs, words @ ..] => {
            devices::load_kernel(kernel, initramfs, words)?;
        }
        ["stall-a-disk", image] => devices::stall(image)?,
        ["write-on", directories @ ..] => devices::write_on(directories)?,
        ["mount-out-of-the-way"] => host::mount_out_of_the_way()?,
        ["facts", words @ ..] => facts::tell(words)?,
        ["process"] => process::tell()?,
        ["be-odd", program, words @ ..] => inherited::be_odd(program, words)?,
        ["inherited"] => inherited::show()?,
        ["notify", messages @ ..] => process::notify(messages)?,
        ["notify-when", file, messages @ ..] => {
            hook::wait_for(file);
            process::notify(messages)?;
            hostile::stay()?;
        }
        ["serve"] => return ready::serve(),
        ["be-flooded"] => ready::be_flooded(true)?,
        ["be-flooded", "unready"] => ready::be_flooded(false)?,
        ["flood-socket"] => ready::flood()?,
        ["make", file, on @ ..] => ready::make(file, on.first().unwrap_or(&""))?,
        ["steer"] => ready::steer()?,
        ["count", words @ ..] => process::count(words),
        ["call", calls @ ..] => calls::make(calls)?,
        ["make-directories", directory] => agent::make(directory)?,
        ["hook-agent", path] => agent::leave(path)?,
        ["agent"] => agent::run()?,
        ["trap", calls @ ..] => calls::trap(calls)?,
        ["labels", paths @ ..] => facts::labels(paths)?,
        ["look-at", paths @ ..] => facts::look_at(paths)?,
        ["nodes", paths @ ..] => facts::nodes(paths)?,
        ["without-user-namespaces", program, words @ ..] => {
            unprivileged::without_namespaces(program, words)?;
        }
        ["unprivileged-dev"] => unprivileged::dev()?,
        ["own", directory] => facts::own(directory)?,
        ["make-writable", mount] => rights::make_writable(mount),
        ["inodes", paths @ ..] => facts::inodes(paths)?,
        ["outlast"] => {
            host::outlast()?;
            facts::mounts("host", "/proc/1/mountinfo")?;
        }
        ["change-root", text] => layers::change(text)?,
        ["observe"] => propagation::observe()?,
        ["act-on-host", ids @ ..] => propagation::act_on_host(ids)?,
        ["orphans", count] => hostile::orphans(count.parse()?)?,
        ["leave-a-writer", mib] => hostile::leave_a_writer(mib.parse()?)?,
        ["flood"] => hostile::flood(None, false)?,
        ["flood-lines"] => hostile::flood(None, true)?,
        ["print", bytes, "lines"] => hostile::flood(Some(bytes.parse()?), true)?,
        ["print", bytes] => hostile::flood(Some(bytes.parse()?), false)?,
        ["until-asked"] => hostile::until_asked(),
        ["use-memory"] => limits::use_memory(),
        ["stay"] => hostile::stay()?,
        ["kill-all"] => hostile::kill_all()?,
        ["signal-first", signal] => hostile::signal_first(signal.parse()?),
        ["kill-first"] => hostile::signal_first(libc::SIGKILL),
        ["end-by", signal] => hostile::end_by(signal.parse()?),
        ["close-output"] => hostile::close_output()?,
        ["work", rounds] => hostile::work(rounds.parse()?)?,
        ["audit"] => hostile::audit()?,
        ["escape", words @ ..] => escapes::run(words)?,
        ["chmod-input", host] => {
            escapes::chmod_input();
            facts::inodes(&[host])?;
        }
        ["mountat"] => mountat::check()?,
        ["limits", files @ ..] => limits::show(files)?,
        ["tick"] => limits::tick(),
        ["starve-for-good"] => limits::starve_for_good()?,
        ["starve"] => limits::starve()?,
        ["share"] => limits::share()?,
        ["fill", most] => limits::fill(most.parse()?)?,
        ["devour", mib] => limits::devour(mib.parse()?)?,
        ["try-devices", devices @ ..] => limits::try_devices(devices)?,
        ["nest", count, depth] => limits::nest(count.parse()?, depth.parse()?)?,
        ["wait-until-gone", groups @ ..] => limits::wait_until_gone(groups)?,
        ["groups"] => groups::check()?,
        ["nested"] => subtrees::nest()?,
        ["watch-disks"] => disks::watch(None)?,
        ["watch-disks", rounds] => disks::watch(Some(rounds.parse()?))?,
        ["intrude-on-disk", name] => disks::intrude(name)?,
        ["kill-who-looks-at-disks", name] => disks::kill_who_looks(name)?,
        ["write-to-disk", name] => disks::write(name)?,
        ["use-disk", name, file] => disks::use_disk(name, file)?,
        ["act-on-volume", ids @ ..] => volumes::act(ids)?,
        ["count-in-volumes"] => volumes::count()?,
        ["mount-while-set-up", id] => volumes::mount_while_it_is_set_up(id)?,
        ["volume", id, own, takes] => volumes::take_part(id, own, takes)?,
        ["subtrees", prefixes @ ..] => subtrees::check(prefixes)?,
        ["interfaces"] => interfaces::print()?,
        ["dhcp-server", device, words @ ..] => network::serve(device, words)?,
        ["network", text, addresses @ ..] => network::look(text, addresses)?,
        ["with-address", device, address, program, words @ ..] => {
            interfaces::set_address(device, address.parse()?)?;
            let error = Command::new(program).args(words).exec();
            bail!("{program}: {error}");
        }
        ["wake-ups", text, seconds] => network::count_wake_ups(text, seconds.parse()?)?,
        ["loopback"] => facts::loopback()?,
        ["try-rights", attempts @ ..] => rights::attempt(attempts)?,
        ["landlock"] => rights::landlock(),
        ["bytes"] => facts::bytes()?,
        ["spy", secret, content] => spy::look(secret, content)?,
        ["console"] => facts::console()?,
        _ => bail!("there is no such check"),
    }
    Ok(ExitCode::SUCCESS)
}
