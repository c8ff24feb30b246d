//! Images as the builder can make them: every one must boot.

use std::io::Write;

use anyhow::{Context, Result, bail, ensure};
use berth_initramfs::Compression;
use berth_qemu::kernel::Series;
use berth_qemu::vm::Ended;
use berth_tests::{Bundle, Lab, disk, field, line};

use crate::{Case, cases};

pub(crate) const CASES: &[Case] = cases![
    everywhere plain_image_boots,
    everywhere gzip_image_boots,
    everywhere zstd_image_boots,
    everywhere lz4_image_boots,
    everywhere modules_that_stay_compressed_are_loaded,
    everywhere module_of_each_compression_is_loaded_or_the_image_is_to_blame,
];

fn boots(lab: &Lab, name: &str, compression: Compression, keep_compressed: bool) -> Result<()> {
    let modules = [
        "virtio_pci",
        "virtio_console",
        "sd_mod",
        "virtio_scsi",
        "vfat",
    ];
    let image = lab
        .spec()?
        .load(modules)
        .keep_compressed(keep_compressed)
        .build(compression)?;
    let vm = lab
        .machine_with(name, &image)
        .append("root=LABEL=BERTH")
        .scsi(&disk::vfat([Bundle::new("first")])?)
        .start()?;
    vm.expect("the container runs", |event| {
        line(event) == Some(("first", "first"))
    })?;
    Ok(vm.wait()?.assert(Ended::PowerOff, 0)?)
}

fn plain_image_boots(lab: &Lab) -> Result<()> {
    boots(lab, "plain_image_boots", Compression::None, false)
}

fn gzip_image_boots(lab: &Lab) -> Result<()> {
    boots(lab, "gzip_image_boots", Compression::Gzip, false)
}

fn zstd_image_boots(lab: &Lab) -> Result<()> {
    boots(lab, "zstd_image_boots", Compression::Zstd, false)
}

fn lz4_image_boots(lab: &Lab) -> Result<()> {
    boots(lab, "lz4_image_boots", Compression::Lz4, false)
}

/// Linux 6.12 and later, as Debian ships them, have their modules as `.ko.xz` and decompress them
/// themselves.
fn modules_that_stay_compressed_are_loaded(lab: &Lab) -> Result<()> {
    let image = lab
        .spec()?
        .load(["vfat"])
        .keep_compressed(true)
        .build(Compression::None)?;
    let entries = berth_initramfs::archive::read(&image.bytes)?;
    let are_compressed = entries.keys().any(|path| path.ends_with("/vfat.ko.xz"));
    ensure!(
        are_compressed != lab.kernel.release.starts_with("6.1."),
        "{}",
        lab.kernel.release
    );
    boots(
        lab,
        "modules_that_stay_compressed_are_loaded",
        Compression::None,
        true,
    )
}

/// The file of a module as `make modules_install` leaves it with each CONFIG_MODULE_COMPRESS_*; the
/// kernel's decoder of xz knows no checksum but CRC32.
fn compressed(method: &str, module: &[u8]) -> Result<Vec<u8>> {
    let mut into = Vec::new();
    match method {
        "gz" => {
            let mut encoder = flate2::write::GzEncoder::new(&mut into, flate2::Compression::best());
            encoder.write_all(module)?;
            encoder.finish()?;
        }
        "xz" => {
            let check = liblzma::stream::Check::Crc32;
            let stream = liblzma::stream::Stream::new_easy_encoder(6, check)?;
            let mut encoder = liblzma::write::XzEncoder::new_stream(&mut into, stream);
            encoder.write_all(module)?;
            encoder.finish()?;
        }
        _ => into = zstd::encode_all(module, 19)?,
    }
    Ok(into)
}

/// A kernel decompresses by the one method that it was built for, or not at all.
fn module_of_each_compression_is_loaded_or_the_image_is_to_blame(lab: &Lab) -> Result<()> {
    const EVENTS: [&str; 2] = ["virtio_pci", "virtio_console"];
    let name = "module_of_each_compression_is_loaded_or_the_image_is_to_blame";
    let base = format!("/lib/modules/{}", lab.kernel.release);
    let vfat = format!("{base}/kernel/fs/fat/vfat.ko");
    let spec = || Ok::<_, anyhow::Error>(lab.spec()?.load(EVENTS).load(["vfat"]));
    let image = spec()?.build(Compression::None)?;
    let entries = berth_initramfs::archive::read(&image.bytes)?;
    let entry = |path: &str| {
        entries
            .get(path.trim_start_matches('/'))
            .context("not in the image")
    };
    let index = String::from_utf8(entry(&format!("{base}/modules.dep"))?.data.clone())?;
    let mut loaded = Vec::new();
    for method in ["gz", "xz", "zst"] {
        let file = compressed(method, &entry(&vfat)?.data)?;
        let index = index.replace("vfat.ko:", &format!("vfat.ko.{method}:"));
        let image = spec()?
            .omit(&vfat)
            .replace(format!("{vfat}.{method}"), file, 0o644)
            .replace(format!("{base}/modules.dep"), index, 0o644)
            .build(Compression::None)?;
        let outcome = lab.machine_with(name, &image).start()?.wait()?;
        let failures = outcome
            .events
            .iter()
            .filter(|event| event.name() == "failure");
        let failures: Vec<_> = failures.filter_map(|event| field(event, "text")).collect();
        match failures[..] {
            // Without bundles there is nothing to do.
            [text] if text.contains("[B050]") => loaded.push(method),
            [text] => {
                ensure!(text.contains(&format!("vfat.ko.{method}: ")), "{text}");
                ensure!(text.contains("[B012]"), "{text}");
                ensure!(outcome.console.contains("store it as plain .ko"), "{text}");
            }
            _ => bail!("{failures:?}"),
        }
    }
    let expected: &[&str] = match lab.series {
        Series::V6_1 => &[],
        Series::V6_12 | Series::V7 => &["xz"],
    };
    ensure!(loaded == expected, "{loaded:?}");
    Ok(())
}
