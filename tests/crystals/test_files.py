"""Crystals in and out of files: every format comes back, what is broken is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from sciflow.domains.crystals import Crystal, cif, datasets, encode, files
from sciflow.errors import SciflowError

SRTIO3 = Crystal.from_parameters(
    ["Sr", "Ti", "O", "O", "O"],
    [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    [3.905] * 3,
)
SKEW = Crystal.from_parameters(
    ["Na", "Cl", "Na"], [[0.1, -0.2, 1.3], [0.4, 0.5, 0.6], [0.9, 0, 0]], [4, 5, 6], [80, 95, 110]
)
ROCK_SALT = """data_NaCl
_symmetry_space_group_name_H-M   'F m -3 m'
_cell_length_a 5.64(1)
_cell_length_b 5.64
_cell_length_c 5.64
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_Int_Tables_number 225
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Na1 0 0 0
Cl1 0.5 0.5 0.5
"""


def by_species(crystal: Crystal) -> Crystal:
    order = np.argsort(crystal.species, kind="stable")
    return Crystal(crystal.species[order], crystal.coordinates[order], crystal.lattice)


@pytest.mark.parametrize("suffix", files.SUFFIXES)
def test_what_is_written_is_read_again(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"some{suffix}"
    with files.Writer(path) as out:
        out.append([SRTIO3])
        out.append([SKEW.to_structure(), SKEW])
    result = files.read(path)
    assert not result.skipped and len(result.objects) == 3
    sort = by_species if suffix in (".vasp", ".poscar") else lambda crystal: crystal
    for before, after in zip([SRTIO3, SKEW, SKEW], result.objects, strict=True):
        assert sort(before).same(after, atol=1e-7)


def test_others_read_what_we_write(tmp_path: Path) -> None:
    from pymatgen.core import Structure

    for name in ("some.cif", "POSCAR.vasp"):
        files.write([SKEW], tmp_path / name)
        theirs = Structure.from_file(tmp_path / name)
        assert Crystal.of(theirs).volume == pytest.approx(SKEW.volume, rel=1e-6)
        ours = np.sort(SKEW.to_structure().distance_matrix, None)
        np.testing.assert_allclose(np.sort(theirs.distance_matrix, None), ours, atol=1e-6)
    ase_io = pytest.importorskip("ase.io")
    files.write([SKEW], tmp_path / "some.extxyz")
    assert Crystal.of(ase_io.read(tmp_path / "some.extxyz")).same(SKEW, atol=1e-6)


def test_we_read_what_others_write(tmp_path: Path) -> None:
    SKEW.to_structure().to(str(tmp_path / "some.cif"))
    SKEW.to_structure().to(str(tmp_path / "some.vasp"), fmt="poscar")
    for crystal in files.read(tmp_path).objects:
        assert by_species(crystal).same(by_species(SKEW), atol=1e-5)
    ase_io = pytest.importorskip("ase.io")
    ase_io.write(tmp_path / "some.extxyz", [SKEW.to_ase(), SRTIO3.to_ase()])
    both = files.read(tmp_path / "some.extxyz").objects
    assert both[0].same(SKEW, atol=1e-6) and both[1].same(SRTIO3, atol=1e-6)


def test_a_cif_with_symmetry_is_written_out(tmp_path: Path) -> None:
    crystal = cif.parse(ROCK_SALT)
    assert crystal.composition == {11: 4, 17: 4}
    assert crystal.density == pytest.approx(2.16, abs=0.01)
    with gzip.open(tmp_path / "salt.cif.gz", "wt") as file:
        file.write(ROCK_SALT + cif.write(SRTIO3))
    assert [c.formula for c in files.read(tmp_path / "salt.cif.gz").objects] == ["NaCl", "SrTiO3"]


def test_vasp_4_scale_and_cartesian(tmp_path: Path) -> None:
    text = "Na Cl\n-64.0\n1 0 0\n0 1 0\n0 0 1\n1 1\nSelective dynamics\nCartesian\n0 0 0 T T T\n2 2 2 F F F\n"
    (tmp_path / "CONTCAR").write_text(text)
    crystal = files.read(tmp_path / "CONTCAR").objects[0]
    assert crystal.volume == pytest.approx(64) and crystal.formula == "NaCl"
    np.testing.assert_allclose(crystal.coordinates[1], 0.5)


BAD = {
    "partial occupancy": cif.write(SRTIO3).replace("0.00000000  1\n", "0.00000000  0.5\n"),
    "unknown element 'Xx'": cif.write(SRTIO3).replace("  Sr  Sr0", "  Xx  Xx0"),
    "broken CIF: no _cell_length_a": cif.write(SRTIO3).replace("_cell_length_a", "_cell_length"),
    "broken CIF: a coordinate is 'nan'": cif.write(SRTIO3).replace("0.50000000", "nan"),
    "no sites in the CIF": "data_empty\n_cell_length_a 3\n",
    "atoms too close": cif.write(SRTIO3).replace("0.50000000", "0.00000000"),
}


def test_what_cannot_be_read_is_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "mixed.cif"
    path.write_text(cif.write(SKEW) + "".join(BAD.values()))
    result = files.read(path)
    assert len(result.objects) == 1
    reasons = {reason for _, _, reason in result.skipped}
    assert set(BAD) - {"no sites in the CIF", "unknown element 'Xx'"} <= reasons
    assert [row for row, _, _ in result.skipped] == [2, 3, 4, 5, 6, 7]
    raw = files.read(path, raw=True)
    assert len(raw.objects) == 2 and "atoms too close" not in {
        reason for _, _, reason in raw.skipped
    }


def test_nothing_to_read_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "a.cif").write_text("")
    (tmp_path / "b.cif").write_text(BAD["partial occupancy"])
    (tmp_path / "c.csv").write_text("a,b\n1,2\n")
    (tmp_path / "d.txt").write_text("text")
    (tmp_path / "e.xyz").write_text("1\nno cell\nNa 0 0 0\n")
    (tmp_path / "f.csv.gz").write_bytes(b"not gzip")
    (tmp_path / "empty").mkdir()
    wanted = {
        "a.cif": "got no crystals",
        "b.cif": "partial occupancy",
        "c.csv": "one named cif",
        "d.txt": "file type",
        "e.xyz": "no Lattice",
        "f.csv.gz": "readable",
        "empty": "without them",
        "missing.cif": "No such file",
    }
    for name, message in wanted.items():
        with pytest.raises(SciflowError, match=message):
            files.read(tmp_path / name)
    with pytest.raises(SciflowError, match="file type"):
        files.Writer(tmp_path / "x.txt")
    with files.Writer(tmp_path / "never.cif"):
        pass
    assert not (tmp_path / "never.cif").exists()


def test_encoded_files_are_read(tmp_path: Path) -> None:
    encode([SRTIO3]).crystals.save(tmp_path / "some.safetensors")
    assert files.read(tmp_path / "some.safetensors").objects[0].same(SRTIO3)


def test_names_of_data_sets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCIFLOW_DATA", str(tmp_path))
    files.write([SRTIO3, SKEW], tmp_path / "perov_5_test.csv")
    files.write([SRTIO3], tmp_path / "mp_20_train_subset.csv")
    assert datasets.is_name("perov5:test") and not datasets.is_name("perov_5_test.csv")
    found = datasets.table("perov5:test")
    assert found.properties["sites"] == [5, 3] and found.crystals[1].same(SKEW, atol=1e-6)
    assert datasets.is_subset("mp20:train") and not datasets.is_subset("perov5:test")
    for wrong, message in (
        ("perov6", "did you mean"),
        ("perov5:dev", "split"),
        ("perov5:val", "download"),
    ):
        with pytest.raises(SciflowError, match=message):
            datasets.read(wrong)


@pytest.mark.data
@pytest.mark.parametrize("name", ["perov_5", "mp_20", "carbon_24"])
def test_the_quick_parser_reads_what_pymatgen_reads(name: str, data_dir: Path) -> None:
    from itertools import islice

    from pymatgen.core import Structure

    for row in islice(files.rows(data_dir / "crystals" / f"{name}_test.csv.gz"), 8):
        theirs = Crystal.of(Structure.from_str(row["cif"], fmt="cif"))
        # Their parser sorts the sites by element.
        assert by_species(cif.parse(row["cif"])).same(by_species(theirs), atol=1e-4)
