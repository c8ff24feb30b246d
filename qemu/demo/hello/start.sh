# Prints a few lines and ends.
/bin/busybox --install -s /usr/bin
echo "I am process $$ of $(hostname), and this is all I see:"
echo "  in /: $(ls / | tr '\n' ' ')"
echo "  processes: $(ls /proc | grep -c '^[0-9]')"
echo "that is all; goodbye"
