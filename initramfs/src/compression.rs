//! Compression formats, as the kernel reads and writes them.
//!
//! Images are written as gzip, zstd or LZ4 and read back by their magic number; modules may be
//! gzip, xz or zstd. LZ4 is the *legacy* frame (`lz4 -l`): the kernel's `lib/decompress_unlz4.c`
//! knows no other. It has no end mark and no checksum: magic, then blocks of a length and that many
//! bytes, each at most 8 MiB when decompressed.
//!
//! Levels are fixed and one thread is used, so the same input gives the same bytes.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// How an image is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Compression {
    /// Plain cpio.
    None,
    /// gzip, level 9. The kernel needs `CONFIG_RD_GZIP`.
    Gzip,
    /// zstd, level 15. The kernel needs `CONFIG_RD_ZSTD`.
    Zstd,
    /// LZ4 legacy frame. The kernel needs `CONFIG_RD_LZ4`.
    Lz4,
}

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const XZ_MAGIC: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const LZ4_MAGIC: &[u8] = &[0x02, 0x21, 0x4c, 0x18];
const LZ4_BLOCK: usize = 8 << 20;
/// Longest compressed block: LZ4 expands incompressible data by 1/255 and 16 bytes. A longer
/// "length" is not a length.
const LZ4_BLOCK_BOUND: usize = LZ4_BLOCK + LZ4_BLOCK / 255 + 16;

/// Above 15 the last few per cent cost more time than a boot from the image saves.
const ZSTD_LEVEL: i32 = 15;

impl Compression {
    /// What the name of the output file asks for: `.gz`, `.zst` or `.lz4`, and
    /// [`Compression::None`] for any other.
    #[must_use]
    pub fn of_suffix(path: &Path) -> Self {
        match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            Some("lz4") => Self::Lz4,
            _ => Self::None,
        }
    }

    /// The kernel configuration symbol without which the kernel cannot unpack the image.
    #[must_use]
    pub fn config_symbol(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Gzip => Some("CONFIG_RD_GZIP"),
            Self::Zstd => Some("CONFIG_RD_ZSTD"),
            Self::Lz4 => Some("CONFIG_RD_LZ4"),
        }
    }

    pub(crate) fn encode(self, plain: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::None => Ok(plain.to_vec()),
            Self::Gzip => {
                let level = flate2::Compression::best();
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(plain)?;
                Ok(encoder.finish()?)
            }
            Self::Zstd => {
                let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                encoder.write_all(plain)?;
                Ok(encoder.finish()?)
            }
            Self::Lz4 => {
                let mut out = LZ4_MAGIC.to_vec();
                for chunk in plain.chunks(LZ4_BLOCK) {
                    let block = lz4_flex::block::compress(chunk);
                    out.extend((block.len() as u32).to_le_bytes());
                    out.extend(block);
                }
                Ok(out)
            }
        }
    }
}

/// Decompresses the stream that `bytes` begins with; gives its content and what follows it.
///
/// # Errors
/// The format is unknown or not supported, or the stream is damaged or ends early.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Vec<u8>, &[u8])> {
    let mut plain = Vec::new();
    let rest = if bytes.starts_with(GZIP_MAGIC) {
        let mut decoder = flate2::bufread::GzDecoder::new(bytes);
        decoder.read_to_end(&mut plain).context("gzip")?;
        decoder.into_inner()
    } else if bytes.starts_with(ZSTD_MAGIC) {
        let mut decoder = zstd::Decoder::with_buffer(bytes)?.single_frame();
        decoder.read_to_end(&mut plain).context("zstd")?;
        decoder.finish()
    } else if bytes.starts_with(XZ_MAGIC) {
        let mut decoder = liblzma::bufread::XzDecoder::new(bytes);
        decoder.read_to_end(&mut plain).context("xz")?;
        decoder.into_inner()
    } else if let Some(blocks) = bytes.strip_prefix(LZ4_MAGIC) {
        decode_lz4_blocks(blocks, &mut plain).context("lz4")?
    } else if bytes.starts_with(b"BZh") {
        bail!("bzip2 images are not read here: unpack it with `bzip2 -d` first");
    } else {
        let head = &bytes[..bytes.len().min(6)];
        bail!("neither a cpio header nor a known compression (begins {head:02x?})");
    };
    Ok((plain, rest))
}

fn decode_lz4_blocks<'a>(mut rest: &'a [u8], plain: &mut Vec<u8>) -> Result<&'a [u8]> {
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 || length > LZ4_BLOCK_BOUND {
            break;
        }
        let Some((block, after)) = after.split_at_checked(length) else {
            bail!("a block of {length} bytes is cut off after {}", after.len());
        };
        plain.extend(lz4_flex::block::decompress(block, LZ4_BLOCK)?);
        rest = after;
    }
    Ok(rest)
}

/// The plain bytes of a module file, whose name ends in `.ko`, `.ko.gz`, `.ko.xz` or `.ko.zst`.
///
/// # Errors
/// The content is not what the name says, or is damaged.
pub(crate) fn decode_module(path: &str, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let magic = match path.rsplit('.').next() {
        Some("gz") => GZIP_MAGIC,
        Some("xz") => XZ_MAGIC,
        Some("zst") => ZSTD_MAGIC,
        _ => return Ok(bytes),
    };
    if !bytes.starts_with(magic) {
        bail!("{path}: the content is not what the suffix says");
    }
    Ok(decode(&bytes)
        .with_context(|| format!("decompress {path}"))?
        .0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two LZ4 blocks, so that the framing matters.
    fn sample() -> Vec<u8> {
        (0..9u32 << 20)
            .map(|i| ((i / 7) ^ (i >> 9)) as u8)
            .collect()
    }

    #[test]
    fn every_format_reads_back_and_leaves_what_follows() {
        let plain = sample();
        for format in [Compression::Gzip, Compression::Zstd, Compression::Lz4] {
            let mut bytes = format.encode(&plain).unwrap();
            bytes.extend(b"070701");
            let (decoded, rest) = decode(&bytes).unwrap();
            assert!(decoded == plain, "{format:?}");
            assert_eq!(rest, b"070701", "{format:?}");
        }
    }

    #[test]
    fn every_format_notices_a_missing_end() {
        let plain = sample();
        for format in [Compression::Gzip, Compression::Zstd, Compression::Lz4] {
            let bytes = format.encode(&plain).unwrap();
            assert!(decode(&bytes[..bytes.len() - 9]).is_err(), "{format:?}");
        }
    }

    #[test]
    fn suffix_chooses_the_format() {
        let of = |name: &str| Compression::of_suffix(Path::new(name));
        assert_eq!(of("a.cpio"), Compression::None);
        assert_eq!(of("a.cpio.zst"), Compression::Zstd);
        assert_eq!(of("a.cpio.gz"), Compression::Gzip);
        assert_eq!(of("a.cpio.lz4"), Compression::Lz4);
    }

    #[test]
    fn module_with_the_wrong_suffix_is_refused() {
        let error = decode_module("kernel/a.ko.xz", b"\x7fELF".to_vec()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "kernel/a.ko.xz: the content is not what the suffix says"
        );
    }
}
