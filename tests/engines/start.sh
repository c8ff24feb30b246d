# What the last service of the guest runs: each command of the table by one runtime, then by the other.
# `/tests/settings` says ENGINE, FIRST and SECOND; `/tests/commands` has one command a line. The host reads the port.
. /tests/settings
export ENGINE LIMIT

for port in /sys/class/virtio-ports/*; do
    [ "$(cat "$port/name")" = org.berth.tests ] && PORT=/dev/${port##*/}
done
chmod 666 "$PORT"

# The engine as the commands know it, $E, by the runtime $R.
cat >/run/prelude <<'END'
export PATH=/usr/local/bin:/usr/sbin:/usr/bin
case $ENGINE in
    podman | rootless)
        E=podman
        podman() { command podman --runtime "$R" "$@"; }
        ;;
    docker) E=docker ;;
    buildah)
        E=buildah
        export BUILDAH_RUNTIME=/usr/bin/$R
        ;;
    ctr)
        E=ctr
        I=localhost/box:latest
        run() { ctr run --runc-binary "/usr/bin/$R" "$@"; }
        # The image as docker saves it.
        box() {
            local sum
            mkdir /tmp/box
            cp /tests/box.tar /tmp/box/layer.tar
            sum=$(sha256sum /tests/box.tar | cut -d' ' -f1)
            cat >/tmp/box/config.json <<JSON
{"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin", "fruit=apple"]},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$sum"]}}
JSON
            echo "[{\"Config\": \"config.json\", \"RepoTags\": [\"$I\"], \"Layers\": [\"layer.tar\"]}]" >/tmp/box/manifest.json
            tar -C /tmp/box -cf /tmp/box.tar manifest.json config.json layer.tar
            rm -r /tmp/box
        }
        ;;
esac
END

cat >/run/all <<'END'
. /tests/settings
cd /tmp
number=0
while IFS= read -r line <&9; do
    number=$((number + 1))
    began=$(cut -d' ' -f1 /proc/uptime)
    R=$R timeout --kill-after 5 "$LIMIT" bash -c ". /run/prelude; $line" </dev/null >"/tmp/out.$UID" 2>&1
    status=$?
    took=$(awk "{ print \$1 - $began }" /proc/uptime)
    { echo "@@ $R $number $status $took"; cat "/tmp/out.$UID"; echo; } >"$PORT"
done 9</tests/commands
END

as_user() {
    systemctl start user@1000
    setpriv --reuid 1000 --regid 1000 --init-groups env HOME=/home/user USER=user \
        XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus \
        systemd-run --user --wait --collect --quiet \
        --setenv=ENGINE=$ENGINE --setenv=LIMIT=$LIMIT --setenv=R=$R --setenv=PORT=$PORT bash /run/all
}

# As udev and a network would have it.
modprobe --all tun fuse dummy
chmod 666 /dev/net/tun /dev/fuse
ip link add eth0 type dummy
ip address add 192.0.2.2/24 dev eth0
ip link set eth0 up
ip route add default via 192.0.2.1

ln -s /tests/berth /usr/bin/berth
mkdir -p /etc/containers /etc/docker /tmp/host
printf '[engine.runtimes]\nberth = ["/usr/bin/berth"]\n' >/etc/containers/containers.conf
export PORT
for R in $FIRST $SECOND; do
    export R
    case $ENGINE in
        docker)
            printf '{"runtimes": {"berth": {"path": "/usr/bin/berth"}}, "default-runtime": "%s"}\n' $R >/etc/docker/daemon.json
            systemctl restart docker
            bash /run/all
            ;;
        rootless) as_user ;;
        ctr)
            systemctl start containerd
            bash /run/all
            ;;
        *) bash /run/all ;;
    esac
done
{ echo "@@ end"; journalctl --boot --no-pager --priority warning | tail -n 40; echo "@@ over"; } >"$PORT"
sleep 1
