# Tells the time once a minute until it is told to stop.
# The first process of a PID namespace gets no signal that it has not asked for (pid_namespaces(7)).
trap 'echo "told to stop"; exit 0' TERM
while true; do
    /bin/busybox date -u '+it is %H:%M UTC'
    # A shell attends to a signal when the program in front of it ends, but at once while it waits.
    /bin/busybox sleep 60 &
    wait $!
done
