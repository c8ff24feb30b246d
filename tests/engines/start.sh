# What the last service of the guest runs: each engine's commands by one runtime, then by the other.
# `/tests/settings` says RUNS, with an engine and a runtime each, LIMIT, and whether it is to be
# QUICK: engines are not as they usually are in what is no runtime's work and takes its time.
# `/tests/commands.ENGINE` has one command a line. The host reads the port.
. /tests/settings
export LIMIT

for port in /sys/class/virtio-ports/*; do
    [ "$(cat "$port/name")" = org.berth.tests ] && PORT=/dev/${port##*/}
done
chmod 666 "$PORT"
echo "@@ boot - 0 0 $(cut -d' ' -f1 /proc/uptime)" >"$PORT"

# The engine as the commands know it, $E, by the runtime $R.
cat >/run/prelude <<'END'
export PATH=/usr/local/bin:/usr/sbin:/usr/bin
case $ENGINE in
    podman | rootless)
        E=podman
        podman() { command podman --runtime "$R" "$@"; }
        ;;
    docker) E=docker ;;
    docker-rootless)
        E=docker
        export DOCKER_HOST=unix:///run/user/1000/docker.sock
        ;;
    buildah | buildah-rootless)
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
# Made once, since no runtime has a part in it.
import() {
    [ -e "/tmp/imported.$ENGINE" ] && return
    case $E in podman | docker) $E import --change 'CMD ["/bin/sh"]' --change 'ENV fruit=apple' /tests/box.tar box ;; esac
    touch "/tmp/imported.$ENGINE"
}
END

# Says what came of a row: `row` of an engine by a runtime, its status, its seconds since `began`,
# its output.
cat >/run/say <<'END'
now() { cut -d' ' -f1 /proc/uptime; }
say() { { echo "@@ $ENGINE $R $1 $2 $(awk "{ print \$1 - $began }" /proc/uptime)"; cat "/tmp/out.$UID"; echo; } >"$PORT"; }
END

cat >/run/all <<'END'
. /tests/settings
. /run/say
cd /tmp
number=0
while IFS= read -r line <&9; do
    began=$(now)
    R=$R timeout --kill-after 5 "$LIMIT" bash -c ". /run/prelude; $line" </dev/null >"/tmp/out.$UID" 2>&1
    say $number $?
    number=$((number + 1))
done 9< <(echo import; cat "/tests/commands.$ENGINE")
END

as_user() {
    systemctl start user@1000
    setpriv --reuid 1000 --regid 1000 --init-groups env HOME=/home/user USER=user \
        XDG_RUNTIME_DIR=/run/user/1000 DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus \
        systemd-run --user --quiet "$@"
}

# Until a command succeeds, for a minute and a half.
await() {
    local tries
    for tries in {1..90}; do "$@" >/dev/null 2>&1 && return; sleep 1; done
    echo "not in time: $*"
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
echo 'DOCKER_OPTS="--add-runtime berth=/usr/bin/berth"' >/etc/default/docker
if [ -n "$QUICK" ]; then
    # No network but where a command asks for one, nothing in the journal, and no collection of
    # garbage.
    printf '[containers]\nnetns = "none"\nlog_driver = "k8s-file"\n[engine]\nevents_logger = "file"\n' >>/etc/containers/containers.conf
    echo 'DOCKER_OPTS="--add-runtime berth=/usr/bin/berth --bridge none --iptables=false --ip6tables=false"' >/etc/default/docker
    systemctl set-environment GOGC=400
    export GOGC=off
fi
export PORT
. /run/say
for run in $RUNS; do
    export ENGINE=${run%:*} R=${run#*:}
    began=$(now)
    case $ENGINE in
        docker)
            printf '{"default-runtime": "%s"}\n' $R >/etc/docker/daemon.json
            systemctl reload-or-restart docker
            await eval "docker info --format '{{.DefaultRuntime}}' | grep -x $R"
            ;;
        docker-rootless)
            mkdir -p /home/user/.config/docker
            printf '{"default-runtime": "%s", "runtimes": {"berth": {"path": "/usr/bin/berth"}}}\n' $R >/home/user/.config/docker/daemon.json
            chown -R user:user /home/user/.config
            as_user --unit docker-$R --property Delegate=yes --setenv=PATH=/usr/sbin:/usr/bin \
                --setenv=DOCKERD_ROOTLESS_ROOTLESSKIT_NET=slirp4netns --setenv=DOCKERD_ROOTLESS_ROOTLESSKIT_PORT_DRIVER=builtin \
                /usr/share/docker.io/contrib/dockerd-rootless.sh
            await eval "DOCKER_HOST=unix:///run/user/1000/docker.sock docker version"
            ;;
        ctr) systemctl start containerd ;;
    esac >"/tmp/out.$UID" 2>&1
    say start $?
    case $ENGINE in
        *rootless)
            as_user --wait --collect --setenv=ENGINE=$ENGINE --setenv=LIMIT=$LIMIT --setenv=R=$R --setenv=PORT=$PORT bash /run/all
            ;;
        *) bash /run/all ;;
    esac
    [ $ENGINE = docker-rootless ] && as_user --wait systemctl --user stop docker-$R
done
{ echo "@@ end"; journalctl --boot --no-pager --priority warning | tail -n 40; echo "@@ over"; } >"$PORT"
sleep 1
