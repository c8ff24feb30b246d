//! A classic BPF program (Documentation/networking/filter.rst), written from its end.
//!
//! A jump leads forward only, at most 255 instructions far where it is conditional, so whoever
//! writes a program from its beginning does not know yet how far. Written from its end, what a jump
//! leads to is there already: a [`Label`] is how many instructions there were when it was written,
//! and the distance a difference.
//!
//! Only instructions are used that the kernel's cache of calls which are always allowed understands
//! (Linux 5.11, kernel/seccomp.c, `seccomp_is_const_allow`): loads of words, comparisons with
//! constants, `and`, `ja`, `ret`. A call that a profile allows whatever its arguments then does not
//! run the filter at all.

/// An instruction as the kernel reads it: `struct sock_filter`, whose fields are of 2, 1, 1 and 4
/// bytes.
pub type Instruction = [u8; 8];

/// The most instructions that the kernel takes (include/uapi/linux/bpf_common.h, BPF_MAXINSNS).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// The farthest that a conditional jump leads.
const REACH: u32 = u8::MAX as u32;

/// What is done with the accumulator and a constant (include/uapi/linux/bpf_common.h).
mod code {
    pub(super) const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    pub(super) const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
    pub(super) const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
    pub(super) const RETURN: u16 = 0x06; // BPF_RET | BPF_K
}

/// What a conditional jump asks of the accumulator: BPF_JMP, the comparison, BPF_K.
#[derive(Clone, Copy)]
#[repr(u16)]
pub(super) enum If {
    Equal = 0x15,
    Greater = 0x25,
    GreaterOrEqual = 0x35,
}

/// A place in the program to go to: how many instructions there are from it to the end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Label(u32);

/// The program has more instructions than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What is written of a program.
pub(super) struct Program<'b> {
    room: &'b mut [Instruction],
    len: u32,
}

impl<'b> Program<'b> {
    pub(super) fn new(room: &'b mut [Instruction]) -> Self {
        Self { room, len: 0 }
    }

    /// The program.
    pub(super) fn finish(self) -> &'b [Instruction] {
        let start = self.room.len().saturating_sub(self.len as usize);
        self.room.get(start..).unwrap_or_default()
    }

    /// The instruction that `label` leads to.
    fn at(&self, label: Label) -> Option<&Instruction> {
        self.room
            .get(self.room.len().checked_sub(label.0 as usize)?)
    }

    fn write(&mut self, code: u16, jumps: [u8; 2], constant: u32) -> Result<Label, Full> {
        let label = Label(self.len.saturating_add(1));
        let place = self.room.len().checked_sub(label.0 as usize).ok_or(Full)?;
        let [a, b] = code.to_ne_bytes();
        let [yes, no] = jumps;
        let [c, d, e, f] = constant.to_ne_bytes();
        *self.room.get_mut(place).ok_or(Full)? = [a, b, yes, no, c, d, e, f];
        self.len = label.0;
        Ok(label)
    }

    /// Loads the word at this offset of the kernel's description of the call, then goes on with
    /// what was written last.
    pub(super) fn load(&mut self, offset: u32) -> Result<Label, Full> {
        self.write(code::LOAD, [0; 2], offset)
    }

    /// Leaves these bits of the accumulator, then goes on with what was written last.
    pub(super) fn and(&mut self, bits: u32) -> Result<Label, Full> {
        self.write(code::AND, [0; 2], bits)
    }

    /// Ends with `value`. The same end serves many who are near.
    pub(super) fn ret(&mut self, value: u32) -> Result<Label, Full> {
        let nearest = self.len.saturating_sub(REACH / 2)..self.len;
        for label in nearest.rev().map(|before| Label(before.saturating_add(1))) {
            if self.returns(label) == Some(value) {
                return Ok(label);
            }
        }
        self.write(code::RETURN, [0; 2], value)
    }

    /// What the instruction ends with, if it ends the program.
    fn returns(&self, label: Label) -> Option<u32> {
        let [a, b, _, _, constant @ ..] = *self.at(label)?;
        (u16::from_ne_bytes([a, b]) == code::RETURN).then(|| u32::from_ne_bytes(constant))
    }

    /// Goes to `yes` or to `no`.
    pub(super) fn branch(
        &mut self,
        condition: If,
        constant: u32,
        yes: Label,
        no: Label,
    ) -> Result<Label, Full> {
        // What is written to come near `no` moves `yes` away by one.
        let yes = self.near(yes, 1)?;
        let no = self.near(no, 0)?;
        let jump = |to: Label| u8::try_from(self.len.saturating_sub(to.0)).map_err(|_| Full);
        let jumps = [jump(yes)?, jump(no)?];
        self.write(condition as u16, jumps, constant)
    }

    /// A place within reach of a jump that is written after `more` others, from which it goes on as
    /// from `label`.
    fn near(&mut self, label: Label, more: u32) -> Result<Label, Full> {
        let distance = self.len.saturating_sub(label.0);
        if distance.saturating_add(more) <= REACH {
            return Ok(label);
        }
        match self.returns(label) {
            Some(value) => self.write(code::RETURN, [0; 2], value),
            // This one may lead anywhere.
            None => self.write(code::JUMP, [0; 2], distance),
        }
    }
}
