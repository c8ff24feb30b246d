use std::path::Path;

use super::*;
use crate::testing::{self, RELEASE, executable, vfat_tree};
use crate::{Compression, ModuleTree, Spec};
use object::elf::EM_X86_64;

fn spec(root: &Path) -> Spec {
    std::fs::write(root.join("berth"), executable(EM_X86_64, false)).unwrap();
    let tree = ModuleTree::open(&vfat_tree(root), None).unwrap();
    Spec::new(root.join("berth"))
        .modules(tree)
        .load(["sd_mod", "vfat", "nls_ascii"])
}

/// The defects of what `change` makes of a good image, for its own kernel.
fn defects(change: impl FnOnce(Spec) -> Spec) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let image = change(spec(root.path())).build(Compression::Lz4).unwrap();
    verify(&image.bytes, Some(RELEASE))
}

fn module(path: &str) -> String {
    format!("/lib/modules/{RELEASE}/{path}")
}

#[test]
fn what_was_built_has_no_defect() {
    assert_eq!(defects(|spec| spec), Vec::<String>::new());
}

#[test]
fn wrong_kernel_release_is_found() {
    let root = tempfile::tempdir().unwrap();
    let image = spec(root.path()).build(Compression::None).unwrap();
    assert_eq!(
        verify(&image.bytes, Some("6.12.0")),
        [format!(
            "the modules are for kernel {RELEASE}, not for 6.12.0"
        )]
    );
}

#[test]
fn module_of_another_release_than_its_directory_is_found() {
    let path = module("kernel/fs/fat/fat.ko");
    let elf = testing::Module::new("fat").release("5.10").elf();
    assert_eq!(
        defects(|spec| spec.replace(&path, elf, 0o644)),
        [format!("{path} was built for kernel 5.10")]
    );
}

#[test]
fn missing_character_set_is_found() {
    // As packed by someone who trusted modules.dep.
    let root = tempfile::tempdir().unwrap();
    let mut entries =
        archive::read(&spec(root.path()).build(Compression::None).unwrap().bytes).unwrap();
    let dep = &mut entries.get_mut(&module("modules.dep")[1..]).unwrap().data;
    *dep = String::from_utf8(dep.clone())
        .unwrap()
        .replace("kernel/fs/nls/nls_cp437.ko:\n", "")
        .into_bytes();
    entries.get_mut("etc/berth/modules").unwrap().data = b"vfat\nnls_ascii\n".to_vec();
    assert_eq!(
        verify(&archive::write(&entries, 0).unwrap(), None),
        ["vfat cannot mount without nls_cp437, which the image lacks"]
    );
}

#[test]
fn character_set_that_nothing_loads_is_found() {
    assert_eq!(
        defects(|spec| spec.replace("/etc/berth/modules", "vfat\nnls-cp437\n", 0o644)),
        Vec::<String>::new(),
        "nls_utf8 is built in and will do"
    );
    assert_eq!(
        defects(|spec| spec.replace("/etc/berth/modules", "vfat\nnls_ascii\n", 0o644)),
        ["vfat cannot mount without nls_cp437, which /etc/berth/modules does not load"]
    );
}

#[test]
fn missing_file_is_found() {
    let path = module("kernel/drivers/scsi/scsi_mod.ko");
    assert_eq!(
        defects(|spec| spec.omit(&path)),
        [format!("{path} is missing, but modules.dep lists it")]
    );
    let path = module("kernel/fs/nls/nls_cp437.ko");
    assert_eq!(
        defects(|spec| spec.omit(&path)),
        [
            format!("{path} is missing, but modules.dep lists it"),
            "vfat cannot mount without nls_cp437, which the image lacks".into()
        ]
    );
}

#[test]
fn whole_index_beside_few_files_is_one_line_at_the_end() {
    let whole: String = (0..50).map(|i| format!("kernel/m{i}.ko:\n")).collect();
    let defects = defects(|spec| {
        spec.replace(module("modules.dep"), whole, 0o644).replace(
            "/etc/berth/modules",
            "m42\n",
            0o644,
        )
    });
    assert_eq!(defects.len(), MISSING_LIMIT + 1);
    assert_eq!(
        defects[0],
        format!(
            "{} is missing, but modules.dep lists it",
            module("kernel/m42.ko")
        )
    );
    assert!(defects[MISSING_LIMIT].ends_with(": 40 more files that modules.dep lists are missing"));
}

#[test]
fn unknown_name_to_load_is_found() {
    assert_eq!(
        defects(|spec| spec.replace("/etc/berth/modules", "ext4\nzfs\n", 0o644)),
        ["/etc/berth/modules: zfs is no module of the image and not built in"]
    );
}

#[test]
fn damaged_module_and_index_are_found() {
    let path = module("kernel/fs/fat/fat.ko");
    assert_eq!(
        defects(|spec| spec.replace(&path, "junk", 0o644)),
        [format!(
            "{path}: not an ELF kernel module: Invalid ELF header size or alignment"
        )]
    );
    assert_eq!(
        defects(|spec| spec.replace(module("modules.dep"), "junk\n", 0o644)),
        [format!(
            "{}: not `path: paths`",
            module("modules.dep line 1")
        )]
    );
    assert_eq!(
        defects(|spec| spec.omit(module("modules.dep"))),
        [format!(
            "{} is missing: no module can be found without it",
            module("modules.dep")
        )]
    );
}

#[test]
fn missing_init_and_missing_modules_are_found() {
    assert_eq!(
        defects(|spec| spec.omit("/init").omit("/lib")),
        [
            "/init is missing: the kernel would look for a root filesystem instead",
            "/etc/berth/modules names modules, but the image has none"
        ]
    );
}

#[test]
fn truncated_image_is_unreadable() {
    let root = tempfile::tempdir().unwrap();
    let image = spec(root.path()).build(Compression::Zstd).unwrap().bytes;
    let defects = verify(&image[..image.len() / 2], None);
    assert_eq!(defects.len(), 1);
    assert!(
        defects[0].starts_with("unreadable: segment at byte 0: zstd"),
        "{defects:?}"
    );
}

#[test]
fn modules_below_usr_need_the_link() {
    let root = tempfile::tempdir().unwrap();
    let entries =
        archive::read(&spec(root.path()).build(Compression::None).unwrap().bytes).unwrap();
    let moved = entries
        .into_iter()
        .filter(|(path, _)| path != "lib")
        .map(|(path, entry)| {
            let path = if path.starts_with("lib/") {
                format!("usr/{path}")
            } else {
                path
            };
            (path, entry)
        });
    let mut entries: Entries = moved.collect();
    let text = "the modules are in /usr/lib/modules, and there is no link /lib to /usr/lib";
    assert_eq!(
        verify(&archive::write(&entries, 0).unwrap(), Some(RELEASE)),
        [text]
    );
    entries.insert("lib".into(), Entry::symlink("usr/lib"));
    assert_eq!(
        verify(&archive::write(&entries, 0).unwrap(), Some(RELEASE)),
        Vec::<String>::new()
    );
}

#[test]
fn root_archive_that_cannot_be_unpacked_is_found() {
    let defect = |archive: Option<&[u8]>| {
        let spec = |spec: Spec| match archive {
            Some(archive) => spec.replace("/root.cpio", archive, 0o644),
            None => spec.cmdline("quiet root=tmpfs"),
        };
        defects(spec).join(";")
    };
    let entries = [("a".to_owned(), archive::Entry::file(0o644, "a"))].into();
    let good = archive::write(&entries, 0).unwrap();
    assert_eq!(defect(Some(&good)), "");
    assert!(defect(Some(&good[..100])).contains("/root.cpio: "));
    let compressed = Compression::Zstd.encode(&good).unwrap();
    assert!(defect(Some(&compressed)).contains("/root.cpio: it is no newc archive, or compressed"));
    assert!(defect(None).contains("there is no /root.cpio"));
}
