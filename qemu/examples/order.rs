use berth_initramfs::*;
use berth_qemu::{arch::Arch, disk::Disk, kernel::Series, vm::Vm};
fn main() -> anyhow::Result<()> {
    let a: Vec<String> = std::env::args().collect();
    let kernel = match std::env::var("S").as_deref() {
        Ok("6.12") => Series::V6_12,
        Ok("6.1") => Series::V6_1,
        _ => Series::V7,
    }
    .get(Arch::X86_64)?;
    let (mods, cpus, n, words) = (
        &a[1],
        a[2].parse()?,
        a[3].parse::<u32>()?,
        a.get(4).cloned().unwrap_or_default(),
    );
    let script = format!(
        "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexport PATH=/bin\nmount -t proc proc /proc\nmount -t sysfs sys /sys\nmount -t devtmpfs dev /dev\nfor m in {mods}; do modprobe $m; done\nuntil [ -b /dev/sda -a -b /dev/sdb ]; do sleep 0.1; done; echo sda=$(cat /sys/block/sda/size); poweroff -f"
    );
    let image = Spec::new("/bin/busybox")
        .modules(ModuleTree::open(&kernel.modules, None)?)
        .load(["virtio_pci", "sd_mod", "virtio_scsi"])
        .add("/bin/busybox", "/bin/busybox")
        .replace("/init", script, 0o100_755)
        .build(Compression::None)?;
    let (mut ok, mut bad) = (0, 0);
    for _ in 0..n {
        let vm = Vm::builder(&format!("order-{}", std::process::id()))
            .kernel(&kernel)
            .cpus(cpus)
            .initrd_bytes(image.bytes.clone())
            .append(words.clone())
            .scsi(&Disk::empty(1).build()?)
            .scsi(&Disk::empty(2).build()?)
            .start()?;
        let out = vm.wait()?;
        if out.console.contains("sda=2048") {
            ok += 1
        } else if out.console.contains("sda=4096") {
            bad += 1
        } else {
            println!("?? {}", out.console)
        }
    }
    println!("{mods} cpus={cpus}: in order {ok}, swapped {bad}");
    Ok(())
}
