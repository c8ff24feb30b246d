# A prompt on the machine's console.
/bin/busybox --install -s /usr/bin
echo
echo "This is the container \"$(hostname)\". Try \`ps\`, \`ls /\`, \`cat /proc/self/mountinfo\`; \`exit\` shuts the machine down."
exec sh -i
