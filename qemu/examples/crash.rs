use berth_initramfs::*; use berth_qemu::{arch::Arch,kernel::Series,vm::Vm};
fn main() -> anyhow::Result<()> {
    let a: Vec<String> = std::env::args().collect();
    let s = match a[1].as_str() { "6.12" => Series::V6_12, "6.1" => Series::V6_1, _ => Series::V7 };
    let kernel = s.get(Arch::X86_64)?;
    let script = "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexport PATH=/bin\nmount -t proc proc /proc\ni=0; while [ $i -lt 60 ]; do ls /bin > /dev/null; i=$((i+1)); done;  poweroff -f";
    let image = Spec::new("/bin/busybox").modules(ModuleTree::open(&kernel.modules, None)?).load(["virtio_scsi"]).add("/bin/busybox", "/bin/busybox").replace("/init", script, 0o755).build(Compression::None)?;
    let (mut ok, mut bad) = (0, 0);
    for _ in 0..a[3].parse::<u32>()? {
        let vm = Vm::builder(&format!("crash-{}", std::process::id())).kernel(&kernel).silence(std::time::Duration::from_secs(20)).initrd_bytes(image.bytes.clone()).arguments(a[4..].iter().cloned()).arguments(["-cpu", &a[2]]).start()?;
        match vm.wait() { Ok(o) if !o.console.contains("RIP:") => ok += 1, Ok(_) => bad += 1, Err(e) => { bad += 1; println!("{}", e.why) } }
    }
    println!("{:?}: good {ok}, bad {bad}", &a[1..]);
    Ok(())
}
