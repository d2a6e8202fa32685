import subprocess
import sys

import pytest

import fv2es
import fv2es_prep
import fv2es_train


@pytest.mark.parametrize("package", [fv2es, fv2es_prep, fv2es_train], ids=lambda p: p.__name__)
def test_each_public_name_can_be_imported_and_is_listed(package):
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert len(set(package.__all__)) == len(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018  # asked for


def test_the_facade_has_both_packages_names():
    assert set(fv2es.__all__) == {"__version__", *fv2es_prep.__all__, *fv2es_train.__all__}
    assert fv2es.ShardDataset is fv2es_train.ShardDataset
    assert fv2es.read_split is fv2es_prep.read_split


def test_importing_it_loads_nothing_heavy():
    code = (
        "import fv2es, sys; print(sorted({'numpy', 'torch', 'h5py', 'typer'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
