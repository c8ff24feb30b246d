use super::*;
use crate::archive::{CHARACTER, REGULAR};
use crate::testing::{Module, RELEASE, executable, vfat_tree, write_tree};
use object::elf::EM_X86_64;

fn spec(root: &Path) -> Spec {
    fs::write(root.join("berth"), executable(EM_X86_64, false)).unwrap();
    Spec::new(root.join("berth"))
}

fn vfat_spec(root: &Path) -> Spec {
    let tree = ModuleTree::open(&vfat_tree(root), None).unwrap();
    spec(root)
        .modules(tree)
        .load(["sd-mod", "vfat", "ext4"])
        .cmdline("root=/dev/sdb1")
}

fn entries(spec: &Spec) -> archive::Entries {
    archive::read(&spec.build(Compression::None).unwrap().bytes).unwrap()
}

fn text(entries: &archive::Entries, path: &str) -> String {
    String::from_utf8(entries[path].data.clone()).unwrap()
}

#[test]
fn image_holds_exactly_what_is_needed() {
    let root = tempfile::tempdir().unwrap();
    let entries = entries(&vfat_spec(root.path()));
    let files: Vec<_> = entries
        .iter()
        .filter(|(_, entry)| !entry.is_directory())
        .collect();
    let paths: Vec<_> = files.iter().map(|(path, _)| path.as_str()).collect();
    let module = |path: &str| format!("lib/modules/{RELEASE}/{path}");
    assert_eq!(
        paths,
        [
            "dev/console",
            "etc/berth/cmdline",
            "etc/berth/modules",
            "init",
            &module("kernel/drivers/scsi/scsi_mod.ko"),
            &module("kernel/drivers/scsi/sd_mod.ko"),
            &module("kernel/fs/fat/fat.ko"),
            &module("kernel/fs/fat/vfat.ko"),
            &module("kernel/fs/nls/nls_ascii.ko"),
            &module("kernel/fs/nls/nls_cp437.ko"),
            &module("kernel/fs/nls/nls_iso8859-1.ko"),
            &module("kernel/lib/t10-pi.ko"),
            &module("modules.alias"),
            &module("modules.builtin"),
            &module("modules.dep"),
            &module("modules.softdep"),
        ]
    );
    assert_eq!(text(&entries, "etc/berth/cmdline"), "root=/dev/sdb1\n");
    assert_eq!(
        text(&entries, "etc/berth/modules"),
        "sd_mod\nvfat\nnls_cp437\nnls_ascii\nnls_iso8859_1\n"
    );
    assert_eq!(
        text(&entries, &module("modules.alias")),
        "alias t10 t10_pi\nalias fs-vfat vfat\n"
    );
    assert_eq!(
        text(&entries, &module("modules.softdep")),
        "softdep sd_mod pre: t10\nsoftdep vfat pre: nls_cp437 nls_ascii nls_iso8859_1\n"
    );
    let dep = text(&entries, &module("modules.dep"));
    assert!(
        dep.contains("kernel/fs/fat/vfat.ko: kernel/fs/fat/fat.ko\n"),
        "{dep}"
    );
    assert!(!dep.contains(".xz"), "{dep}");
    assert_eq!(
        (entries["dev/console"].mode, entries["dev/console"].rdev),
        (CHARACTER | 0o600, (5, 1))
    );
    assert_eq!(entries["init"].mode, REGULAR | 0o755);
    assert!(entries["sysroot"].is_directory());
}

#[test]
fn same_content_in_another_directory_gives_the_same_bytes() {
    let build = |order: [&str; 3], mode: u32| {
        let root = tempfile::tempdir().unwrap();
        let added = root.path().join("added");
        fs::create_dir(&added).unwrap();
        for name in order {
            fs::write(added.join(name), name).unwrap();
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(added.join(name), permissions).unwrap();
        }
        let spec = vfat_spec(root.path()).add(added, "/opt");
        [
            Compression::None,
            Compression::Gzip,
            Compression::Zstd,
            Compression::Lz4,
        ]
        .map(|compression| spec.build(compression).unwrap().bytes)
    };
    assert!(build(["a", "b", "c"], 0o600) == build(["c", "a", "b"], 0o664));
}

#[test]
fn time_is_the_one_given() {
    let root = tempfile::tempdir().unwrap();
    let bytes = spec(root.path())
        .mtime(0x1234)
        .build(Compression::None)
        .unwrap()
        .bytes;
    let header = cpio::newc::Reader::new(bytes.as_slice()).unwrap();
    assert_eq!((header.entry().mtime(), header.entry().ino()), (0x1234, 1));
}

#[test]
fn modules_stay_compressed_only_where_the_kernel_can_load_them() {
    let root = tempfile::tempdir().unwrap();
    let dir = write_tree(root.path(), &[("kernel/a.ko.xz", Module::new("a"))], None);
    let build = |config: &str| {
        fs::write(dir.join("config"), config).unwrap();
        let tree = ModuleTree::open(&dir, None).unwrap();
        let spec = spec(root.path())
            .modules(tree)
            .load(["a"])
            .keep_compressed(true);
        spec.build(Compression::None)
            .map(|image| archive::read(&image.bytes).unwrap())
    };
    let entries = build("CONFIG_MODULE_DECOMPRESS=y\nCONFIG_MODULE_COMPRESS_XZ=y\n").unwrap();
    let stored = &entries[&format!("lib/modules/{RELEASE}/kernel/a.ko.xz")];
    assert_eq!(stored.data, fs::read(dir.join("kernel/a.ko.xz")).unwrap());
    assert_eq!(
        text(&entries, &format!("lib/modules/{RELEASE}/modules.dep")),
        "kernel/a.ko.xz:\n"
    );
    let error = build("CONFIG_MODULE_COMPRESS_XZ=y\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("cannot load kernel/a.ko.xz: it lacks CONFIG_MODULE_DECOMPRESS"),
        "{error}"
    );
}

#[test]
fn compression_that_the_kernel_cannot_unpack_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = vfat_tree(root.path());
    fs::write(dir.join("config"), "CONFIG_RD_GZIP=y\n").unwrap();
    let spec = spec(root.path()).modules(ModuleTree::open(&dir, None).unwrap());
    assert!(spec.build(Compression::Gzip).is_ok());
    let error = spec.build(Compression::Zstd).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("kernel {RELEASE} cannot unpack this image: it lacks CONFIG_RD_ZSTD")
    );
}

#[test]
fn modules_of_another_release_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = write_tree(
        root.path(),
        &[("kernel/a.ko", Module::new("a").release("5.10"))],
        None,
    );
    let spec = spec(root.path())
        .modules(ModuleTree::open(&dir, None).unwrap())
        .load(["a"]);
    let error = spec.build(Compression::None).unwrap_err().to_string();
    assert!(
        error.ends_with(&format!(
            "built for kernel 5.10, but it lies in the directory of {RELEASE}"
        )),
        "{error}"
    );
}

#[test]
fn replaced_and_omitted_files_are_as_asked() {
    let root = tempfile::tempdir().unwrap();
    let spec = spec(root.path())
        .replace("/init", "broken", 0o600)
        .omit("/dev");
    let entries = entries(&spec);
    assert_eq!(entries["init"], Entry::file(0o600, "broken"));
    assert!(entries.keys().all(|path| !path.starts_with("dev")));
    assert!(spec.omit("/nowhere").build(Compression::None).is_err());
}

#[test]
fn report_counts_what_is_in_the_image() {
    let root = tempfile::tempdir().unwrap();
    let image = vfat_spec(root.path()).build(Compression::Zstd).unwrap();
    let report = &image.report;
    assert_eq!(
        report.groups["init"],
        (1, executable(EM_X86_64, false).len())
    );
    assert_eq!(report.groups["module indexes"].0, 4);
    assert_eq!(report.image, image.bytes.len());
    assert_eq!(report.notes[0], "ext4: built into the kernel");
    assert!(report.to_string().contains("  module vfat\n"), "{report}");
}
