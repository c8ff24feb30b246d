#!/bin/sh
# Makes the configurations beside this file, with the tools of Debian 12: runc 1.1.5, crun 1.8.1,
# podman 4.3.1, buildah 1.28.2, containerd 1.6.20 and docker 20.10.24. It takes root. Engines are
# given a runtime that keeps the configuration which it is called with, and fails.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
cd "$work"
mkdir -p rootfs/bin rootfs/dev rootfs/etc rootfs/proc rootfs/sys rootfs/tmp
cp "$(command -v busybox)" rootfs/bin/sh
tar -C rootfs -cf rootfs.tar .

cat > keep <<'END'
#!/bin/sh
for word; do
    case $word in create | run) creates=1 ;; features | --version) echo "runc version 1.1.5"; exit 0 ;; esac
    case ${before-} in --bundle | -b) bundle=$word ;; esac
    case $word in --bundle=*) bundle=${word#--bundle=} ;; esac
    before=$word
done
[ -z "${creates-}" ] || cp "$bundle/config.json" "$(dirname "$0")/kept.json"
exit 1
END
chmod +x keep

# keeps NAME COMMAND…: what the command hands to its runtime is NAME.json. The command fails.
keeps() {
    name=$1
    shift
    rm -f kept.json
    "$@" < /dev/null || true
    install -m 0644 kept.json "$here/$name.json"
}

for tool in runc crun; do
    "$tool" spec
    mv config.json "$here/$tool-spec.json"
    "$tool" spec --rootless
    mv config.json "$here/$tool-spec-rootless.json"
done

limits="--memory 64m --cpus 0.5 --pids-limit 50 --cpuset-cpus 0 --ulimit nofile=64:128"
rights="--user 1000:1000 --cap-drop all --cap-add net_bind_service --security-opt no-new-privileges --read-only"
files="--tmpfs /run -v /srv:/srv:ro --device /dev/null:/dev/xnull --hostname web"

store="--root $work/store --runroot $work/state --storage-driver vfs"
podman="podman $store --cgroup-manager cgroupfs --runtime $work/keep"
$podman import rootfs.tar local:1
podman="$podman run --network none --rm"
keeps podman-run $podman local:1 /bin/sh
keeps podman-run-options $podman -it --userns=host --sysctl net.ipv4.ip_forward=1 $limits $rights $files local:1 /bin/sh
keeps podman-privileged $podman --uidmap 0:100000:65536 --gidmap 0:100000:65536 --privileged local:1 /bin/sh

container=$(buildah $store from --pull-never local:1)
keeps buildah-run buildah $store run --isolation oci --runtime "$work/keep" "$container" /bin/sh -c true

cat > containerd.toml <<END
version = 2
root = "$work/containerd/root"
state = "$work/containerd/state"
[grpc]
  address = "$work/containerd.sock"
END
containerd -c containerd.toml > containerd.log 2>&1 &
containerd=$!
until [ -S containerd.sock ]; do sleep 1; done
ctr="ctr -a $work/containerd.sock run --rootfs --runc-binary $work/keep"
keeps ctr-run $ctr "$work/rootfs" one /bin/sh
keeps ctr-run-seccomp $ctr --seccomp --memory-limit 67108864 "$work/rootfs" two /bin/sh

dockerd --containerd "$work/containerd.sock" -H "unix://$work/docker.sock" --data-root "$work/docker" --exec-root "$work/exec" \
    -p "$work/docker.pid" --bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
    --storage-driver vfs --add-runtime "keep=$work/keep" > dockerd.log 2>&1 &
dockerd=$!
docker="docker -H unix://$work/docker.sock"
until $docker import rootfs.tar local:1; do sleep 1; done
docker="$docker run --runtime keep --network none --rm"
keeps docker-run $docker local:1 /bin/sh
keeps docker-run-options $docker $limits $rights $files local:1 /bin/sh
keeps docker-privileged $docker --privileged local:1 /bin/sh

kill "$dockerd"
wait "$dockerd" || true
kill "$containerd"
echo "the tools' own files are in $work"
