use jejak_proofs::merkle::{BundleId, TileId, TilePath, TilePathError};

use super::forge::Random;

const fn tile(level: u8, index: u64, width: u16) -> TilePath {
    TilePath::Tile(TileId { level, index, width })
}

const fn bundle(index: u64, width: u16) -> TilePath {
    TilePath::Bundle(BundleId { index, width })
}

// SPEC [T8]
#[test]
fn the_one_spelling() {
    for (path, want) in [
        ("tile/0/000", tile(0, 0, 256)),
        ("tile/0/001", tile(0, 1, 256)),
        ("tile/0/999", tile(0, 999, 256)),
        ("tile/0/x001/000", tile(0, 1_000, 256)),
        ("tile/0/x999/999", tile(0, 999_999, 256)),
        ("tile/1/x001/x234/067", tile(1, 1_234_067, 256)),
        ("tile/1/x001/x000/000", tile(1, 1_000_000, 256)),
        ("tile/63/000.p/1", tile(63, 0, 1)),
        ("tile/10/273.p/112", tile(10, 273, 112)),
        ("tile/7/x018/x446/x744/x073/x709/x551/615.p/255", tile(7, u64::MAX, 255)),
        ("tile/entries/000", bundle(0, 256)),
        ("tile/entries/x001/x234/067.p/255", bundle(1_234_067, 255)),
        ("tile/entries/x018/x446/x744/x073/x709/x551/615", bundle(u64::MAX, 256)),
    ] {
        assert_eq!(path.parse(), Ok(want), "{path}");
        assert_eq!(want.to_string(), path);
        let named = match want {
            TilePath::Tile(id) => id.path(),
            TilePath::Bundle(id) => id.path(),
        };
        assert_eq!(named, path);
    }
}

// SPEC [T8]
#[test]
fn every_other_spelling_is_refused() {
    let paths = "
        tile  tile/  tile/0  tile/0/  tile//000  /tile/0/000  ./tile/0/000  tile/0//000
        Tile/0/000  tiles/0/000  tile/0/000/  tile/0/000/000  tile/0/000/x001
        tile/00/000  tile/01/000  tile/+1/000  tile/-1/000  tile/64/000  tile/256/000  tile/x/000
        tile/0x0/000  tile/1e1/000  tile/18446744073709551616/000  tile/\u{0661}/000
        tile/0/0  tile/0/00  tile/0/0000  tile/0/1  tile/0/+01  tile/0/-01  tile/0/0x1  tile/0/1e1
        tile/0/x000  tile/0/x001  tile/0/x000/001  tile/0/x000/x001/000  tile/0/001/000
        tile/0/x1/000  tile/0/x01/000  tile/0/x0001/000  tile/0/X001/000  tile/0/xx01/000
        tile/0/x001/x000  tile/0/x001//000  tile/0/x001/00  tile/0/x001/0000  tile/0/x+01/000
        tile/0/x001/+01  tile/0/x001/../000  tile/0/../000  tile/../tile/0/000  tile/0/%30%30%30
        tile/0/x018/x446/x744/x073/x709/x551/616  tile/0/x018/x446/x744/x073/x709/x552/000
        tile/0/x001/x000/x000/x000/x000/x000/x000/000  tile/0/\u{0660}\u{0660}\u{0660}
        tile/0/000.p  tile/0/000.p/  tile/0/000.p/0  tile/0/000.p/00  tile/0/000.p/01
        tile/0/000.p/256  tile/0/000.p/257  tile/0/000.p/65537  tile/0/000.p/+1  tile/0/000.p/-1
        tile/0/000.p/1/  tile/0/000.p/1.p/1  tile/0/000.P/1  tile/0/000p/1  tile/0/000.p//1
        tile/0/000/.p/1  tile/0/000.p/x01  tile/0/000.p/1a  tile/0/000.p/1?x  tile/0/000?p=1
        tile/0/.p/1  tile/0/x001.p/1  tile/0/x001/.p/1  tile/0/000.p/1%00  tile/0/000.p/0x1
        tile/entries  tile/entries/  tile/entries/0  tile/entries/000/  tile/entries/000.p/0
        tile/entries/000.p/256  tile/entries/x000/000  tile/Entries/000  tile/entries//000
        tile/entry/000  tile/data/000  tile/8/entries/000  tile/8/0/000  tile/names/000
        tile/0/entries/000  tile\\0\\000  tile/0/000\u{0}
    ";
    let spaced = ["", " ", " tile/0/000", "tile/0/000 ", "tile/0/000\n", "tile/ 0/000"];
    let spaced = spaced.into_iter().chain(["tile/0/ 00", "tile/0/000.p/ 1", "tile/0/000.p/1\t"]);
    for path in paths.split_whitespace().chain(spaced) {
        assert_eq!(path.parse::<TilePath>(), Err(TilePathError), "{path:?}");
    }
}

/// Whatever is accepted is written back as it was read.
#[test]
fn no_mutation_makes_a_second_spelling() {
    let mut random = Random(6);
    let alphabet = b"0123456789x./p+tilen-";
    let mut accepted = 0;
    for _ in 0..200_000 {
        let width = 1 + random.below(256) as u16;
        let index = random.next() >> random.below(64);
        let path = match random.below(3) {
            0 => bundle(index, width),
            _ => tile(random.below(64) as u8, index, width),
        };
        assert_eq!(path.to_string().parse(), Ok(path));
        let mut text = path.to_string().into_bytes();
        let at = random.below(text.len() as u64) as usize;
        let letter = alphabet[random.below(alphabet.len() as u64) as usize];
        match random.below(3) {
            0 => text[at] = letter,
            1 => text.insert(at, letter),
            _ => _ = text.remove(at),
        }
        let text = String::from_utf8(text).unwrap();
        if let Ok(read) = text.parse::<TilePath>() {
            assert_eq!(read.to_string(), text);
            accepted += 1;
        }
    }
    assert!(accepted > 1_000, "{accepted}");
}
