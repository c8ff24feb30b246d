//! A bundle's configuration: any bytes give a valid value or one line that says why not.
#![no_main]

use berth::parse::config::capabilities::Set;
use berth::parse::config::{
    Config, ConfigError, HookKind, Kind, MOUNT_PLACES, MountPlace, container_id,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let _ = container_id(file);
    // As many bytes as the file has: that they suffice is a promise.
    let mut scratch = vec![0; file.len()];
    let mut places = [const { MountPlace::uninit() }; MOUNT_PLACES];
    match Config::parse(file, &mut scratch, &mut places) {
        Ok(config) => {
            let process = &config.process;
            let mut strings = process.args.iter().chain(process.env.iter());
            assert!(strings.all(|text| text.chars().all(|c| c != '\0')));
            assert!(process.args.iter().next().is_some() && process.cwd.starts_with('/'));
            assert!(process.user.uid != u32::MAX && process.user.gid != u32::MAX);
            assert!(process.user.groups.iter().all(|group| group != u32::MAX));
            assert!(process.rlimits.iter().all(|limit| limit.soft <= limit.hard));
            if let Some(capabilities) = &process.capabilities {
                let bits = |set: Set| set.bits();
                let outside = bits(capabilities.permitted) | bits(capabilities.inheritable);
                assert_eq!(outside & !bits(capabilities.bounding), 0);
                let ungiven = bits(capabilities.effective) | bits(capabilities.ambient);
                assert_eq!(ungiven & !bits(capabilities.permitted), 0);
                capabilities.each_warning(&mut |text| {
                    assert!(!text.to_string().contains(char::is_control));
                });
            }
            let namespaces = &config.namespaces;
            for map in [config.uid_map, config.gid_map] {
                assert_eq!(map.is_some(), namespaces.is_new(Kind::User));
                assert!(map.is_none_or(|map| map.ranges().all(|range| range.count > 0)));
            }
            assert!(namespaces.joined().all(|(_, path)| path.starts_with('/')));
            for kind in HookKind::ALL {
                for hook in config.hooks.of(kind) {
                    assert!(hook.path.starts_with("/") && hook.args().next().is_some());
                    let mut variables = hook.env().into_iter().flatten();
                    assert!(variables.all(|text| !text.starts_with("=")));
                }
            }
            for (outside, inside) in config.net_devices.iter() {
                for name in [outside, inside] {
                    assert!(!name.is_empty() && !name.contains(['/', ':', '\0']));
                }
            }
            if let Some(rdt) = &config.intel_rdt {
                assert!(
                    rdt.group()
                        .is_none_or(|name| name.is("/") || name.chars().all(|c| c != '/'))
                );
                assert!(rdt.schemata().all(|(text, _)| !text.is("")));
            }
            for mount in config.mounts.iter() {
                assert!(!mount.destination.is_empty());
                assert_eq!(mount.options.flags.set & mount.options.flags.clear, 0);
                let has_source = mount.options.is_bind() && mount.source.is_some();
                let is_remount = mount.options.is_remount();
                assert!(has_source || is_remount || mount.fstype.is_some());
                let ids = mount.ids.into_iter();
                let maps = ids.flat_map(|ids| ids.maps.into_iter().flatten());
                assert!(maps.into_iter().all(|map| map.ranges().next().is_some()));
            }
            let confinement = &config.confinement;
            let devices = confinement.devices().map(|device| device.path);
            let mut see = |path: &str| {
                let mut parts = path.split('/');
                assert!(path.starts_with('/') && parts.all(|part| part != ".."));
                Ok::<(), ()>(())
            };
            assert!(confinement.each_masked_path(&mut see).is_ok());
            assert!(confinement.each_readonly_path(&mut see).is_ok());
            devices.for_each(|path| assert!(see(&path).is_ok()));
            for (path, _) in confinement.sysctls() {
                assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")));
            }
            // What was checked once goes through again, and names nothing outside of its group.
            let written = config.resources.each_setting(&mut |setting| {
                assert!(!setting.file.contains('/') && !setting.file.starts_with('.'));
                assert!(!setting.line.contains(char::is_control));
            });
            assert!(written.is_ok());
            assert!(config.resources.each_device_rule(&mut |_| {}).is_ok());
        }
        Err(error) => {
            assert_ne!(error, ConfigError::ScratchFull);
            assert!(!error.to_string().contains(char::is_control));
        }
    }
});
