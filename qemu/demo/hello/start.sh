# Prints a few lines and ends. All are the shell's own commands.
read -r name < /proc/sys/kernel/hostname
echo "I am process $$ of $name, and this is all I see:"
cd /
echo "  in /: $(echo *)"
cd /proc
set -- [0-9]*
echo "  processes: $*"
