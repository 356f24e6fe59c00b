"""References of the methods texts, by the words with which they are cited in square brackets."""

from __future__ import annotations

import re

import attrs


@attrs.frozen
class Reference:
    """A published work.

    Parameters
    ----------
    key : str
        Of its BibTeX entry.
    kind : str
        Type of its BibTeX entry.
    fields : dict
        Of the entry; ``author`` separated by ``and``.
    """

    key: str
    kind: str
    fields: dict[str, str]

    @property
    def text(self) -> str:
        """One line for a list of references."""
        f = self.fields
        names = f["author"].split(" and ")
        authors = "; ".join(names[:6]) + (" et al." if len(names) > 6 else "")
        venue = f.get("journal") or f.get("booktitle") or f.get("publisher") or f.get("school", "")
        volume = f" {f['volume']}" if "volume" in f else ""
        pages = f":{f['pages'].replace('--', '–')}" if "pages" in f else ""
        doi = f" doi:{f['doi']}" if "doi" in f else ""
        note = f" {f['note']}." if "note" in f else ""
        venue = f" {venue}{volume}{pages}." if venue else ""
        return f"{authors} ({f['year']}). {f['title']}.{venue}{note}{doi}"

    @property
    def bibtex(self) -> str:
        """The BibTeX entry."""
        rows = ",\n".join(f"  {name} = {{{value}}}" for name, value in self.fields.items())
        return f"@{self.kind}{{{self.key},\n{rows}\n}}"


REFERENCES = {
    "Cieslak et al. 2021": Reference(
        "cieslak2021",
        "article",
        {
            "author": "Cieslak, Matthew and Cook, Philip A. and He, Xiaosong and Yeh, Fang-Cheng "
            "and Dhollander, Thijs and Adebimpe, Azeez and others",
            "title": "QSIPrep: an integrative platform for preprocessing and reconstructing "
            "diffusion MRI data",
            "journal": "Nature Methods",
            "volume": "18",
            "pages": "775--778",
            "year": "2021",
            "doi": "10.1038/s41592-021-01185-5",
        },
    ),
    "Glasser et al. 2013": Reference(
        "glasser2013",
        "article",
        {
            "author": "Glasser, Matthew F. and Sotiropoulos, Stamatios N. and Wilson, J. Anthony "
            "and Coalson, Timothy S. and Fischl, Bruce and Andersson, Jesper L. and others",
            "title": "The minimal preprocessing pipelines for the Human Connectome Project",
            "journal": "NeuroImage",
            "volume": "80",
            "pages": "105--124",
            "year": "2013",
            "doi": "10.1016/j.neuroimage.2013.04.127",
        },
    ),
    "Zhu et al. 2024": Reference(
        "zhu2024",
        "inproceedings",
        {
            "author": "Zhu, Xi and Zhang, Wei and Li, Yijie and O'Donnell, Lauren J. and "
            "Zhang, Fan",
            "title": "When Diffusion MRI Meets Diffusion Model: A Novel Deep Generative Model "
            "for Diffusion MRI Generation",
            "booktitle": "Medical Image Computing and Computer Assisted Intervention (MICCAI)",
            "year": "2024",
            "note": "arXiv:2408.12897",
        },
    ),
    "Mirzaalian et al. 2016": Reference(
        "mirzaalian2016",
        "article",
        {
            "author": "Mirzaalian, H. and Ning, L. and Savadjiev, P. and Pasternak, O. and "
            "Bouix, S. and Michailovich, O. and Grant, G. and Marx, C. E. and Morey, R. A. and "
            "Flashman, L. A. and George, M. S. and McAllister, T. W. and Andaluz, N. and "
            "Shutter, L. and Coimbra, R. and Zafonte, R. D. and Coleman, M. J. and "
            "Kubicki, M. and Westin, C. F. and Stein, M. B. and Shenton, M. E. and Rathi, Y.",
            "title": "Inter-site and inter-scanner diffusion MRI data harmonization",
            "journal": "NeuroImage",
            "volume": "135",
            "pages": "311--323",
            "year": "2016",
            "doi": "10.1016/j.neuroimage.2016.04.041",
        },
    ),
    "Tournier et al. 2019": Reference(
        "tournier2019",
        "article",
        {
            "author": "Tournier, J-Donald and Smith, Robert and Raffelt, David and "
            "Tabbara, Rami and Dhollander, Thijs and Pietsch, Maximilian and "
            "Christiaens, Daan and Jeurissen, Ben and Yeh, Chun-Hung and Connelly, Alan",
            "title": "MRtrix3: A fast, flexible and open software framework for medical image "
            "processing and visualisation",
            "journal": "NeuroImage",
            "volume": "202",
            "pages": "116137",
            "year": "2019",
            "doi": "10.1016/j.neuroimage.2019.116137",
        },
    ),
    "Descoteaux et al. 2007": Reference(
        "descoteaux2007",
        "article",
        {
            "author": "Descoteaux, Maxime and Angelino, Elaine and Fitzgibbons, Shaun and "
            "Deriche, Rachid",
            "title": "Regularized, fast, and robust analytical Q-ball imaging",
            "journal": "Magnetic Resonance in Medicine",
            "volume": "58",
            "pages": "497--510",
            "year": "2007",
            "doi": "10.1002/mrm.21277",
        },
    ),
    "Salvador et al. 2005": Reference(
        "salvador2005",
        "article",
        {
            "author": "Salvador, R. and Peña, A. and Menon, D. K. and Carpenter, T. A. and "
            "Pickard, J. D. and Bullmore, E. T.",
            "title": "Formal characterization and extension of the linearized diffusion tensor "
            "model",
            "journal": "Human Brain Mapping",
            "volume": "24",
            "pages": "144--155",
            "year": "2005",
            "doi": "10.1002/hbm.20076",
        },
    ),
    "Luisier et al. 2007": Reference(
        "luisier2007",
        "article",
        {
            "author": "Luisier, Florian and Blu, Thierry and Unser, Michael",
            "title": "A new SURE approach to image denoising: interscale orthonormal wavelet "
            "thresholding",
            "journal": "IEEE Transactions on Image Processing",
            "volume": "16",
            "pages": "593--606",
            "year": "2007",
            "doi": "10.1109/TIP.2007.891064",
        },
    ),
    "Irani & Peleg 1991": Reference(
        "irani1991",
        "article",
        {
            "author": "Irani, Michal and Peleg, Shmuel",
            "title": "Improving resolution by image registration",
            "journal": "CVGIP: Graphical Models and Image Processing",
            "year": "1991",
            "volume": "53",
            "pages": "231--239",
            "doi": "10.1016/1049-9652(91)90045-L",
        },
    ),
    "Koay & Basser 2006": Reference(
        "koay2006",
        "article",
        {
            "author": "Koay, Cheng Guan and Basser, Peter J.",
            "title": "Analytically exact correction scheme for signal extraction from noisy "
            "magnitude MR signals",
            "journal": "Journal of Magnetic Resonance",
            "volume": "179",
            "pages": "317--322",
            "year": "2006",
            "doi": "10.1016/j.jmr.2006.01.016",
        },
    ),
    "Shocher et al. 2018": Reference(
        "shocher2018",
        "inproceedings",
        {
            "author": "Shocher, Assaf and Cohen, Nadav and Irani, Michal",
            "title": "Zero-shot super-resolution using deep internal learning",
            "booktitle": "IEEE/CVF Conference on Computer Vision and Pattern Recognition",
            "pages": "3118--3126",
            "year": "2018",
            "doi": "10.1109/CVPR.2018.00329",
        },
    ),
    "Garyfallidis et al. 2014": Reference(
        "garyfallidis2014",
        "article",
        {
            "author": "Garyfallidis, Eleftherios and Brett, Matthew and Amirbekian, Bagrat and "
            "Rokem, Ariel and van der Walt, Stefan and Descoteaux, Maxime and "
            "Nimmo-Smith, Ian",
            "title": "Dipy, a library for the analysis of diffusion MRI data",
            "journal": "Frontiers in Neuroinformatics",
            "volume": "8",
            "pages": "8",
            "year": "2014",
            "doi": "10.3389/fninf.2014.00008",
        },
    ),
    "Veraart et al. 2016": Reference(
        "veraart2016",
        "article",
        {
            "author": "Veraart, Jelle and Novikov, Dmitry S. and Christiaens, Daan and "
            "Ades-aron, Benjamin and Sijbers, Jan and Fieremans, Els",
            "title": "Denoising of diffusion MRI using random matrix theory",
            "journal": "NeuroImage",
            "volume": "142",
            "pages": "394--406",
            "year": "2016",
            "doi": "10.1016/j.neuroimage.2016.08.016",
        },
    ),
    "Kellner et al. 2016": Reference(
        "kellner2016",
        "article",
        {
            "author": "Kellner, Elias and Dhital, Bibek and Kiselev, Valerij G. and Reisert, Marco",
            "title": "Gibbs-ringing artifact removal based on local subvoxel-shifts",
            "journal": "Magnetic Resonance in Medicine",
            "volume": "76",
            "pages": "1574--1581",
            "year": "2016",
            "doi": "10.1002/mrm.26054",
        },
    ),
    "Neto Henriques 2018": Reference(
        "netohenriques2018",
        "phdthesis",
        {
            "author": "Neto Henriques, Rafael",
            "title": "Advanced Methods for Diffusion MRI Data Analysis and their Application to "
            "the Healthy Ageing Brain",
            "school": "University of Cambridge",
            "year": "2018",
            "doi": "10.17863/CAM.29356",
        },
    ),
    "Gorgolewski et al. 2011": Reference(
        "gorgolewski2011",
        "article",
        {
            "author": "Gorgolewski, Krzysztof and Burns, Christopher D. and Madison, Cindee and "
            "Clark, Dav and Halchenko, Yaroslav O. and Waskom, Michael L. and "
            "Ghosh, Satrajit S.",
            "title": "Nipype: a flexible, lightweight and extensible neuroimaging data "
            "processing framework in Python",
            "journal": "Frontiers in Neuroinformatics",
            "volume": "5",
            "pages": "13",
            "year": "2011",
            "doi": "10.3389/fninf.2011.00013",
        },
    ),
    "Cardoso et al. 2022": Reference(
        "cardoso2022",
        "article",
        {
            "author": "Cardoso, M. Jorge and Li, Wenqi and Brown, Richard and Ma, Nic and "
            "Kerfoot, Eric and Wang, Yiheng and Murrey, Benjamin and Myronenko, Andriy and "
            "Zhao, Can and Yang, Dong and others",
            "title": "MONAI: An open-source framework for deep learning in healthcare",
            "journal": "arXiv preprint arXiv:2211.02701",
            "year": "2022",
            "doi": "10.48550/arXiv.2211.02701",
        },
    ),
}
"""Every work that a methods text cites."""


def cited(text: str) -> list[Reference]:
    """References that a text cites in square brackets, in the order of their first mention.

    Examples
    --------
    >>> [r.key for r in cited("As usual [DIPY, Garyfallidis et al. 2014; Zhu et al. 2024].")]
    ['garyfallidis2014', 'zhu2024']
    """
    references: dict[str, Reference] = {}
    for bracket in re.findall(r"\[([^\]]+)\]", text):
        names = [name for name in REFERENCES if name in bracket]
        for name in sorted(names, key=bracket.index):
            references.setdefault(name, REFERENCES[name])
    return list(references.values())


def unknown_citations(text: str) -> list[str]:
    """Bracketed words with a year that no reference answers to.

    Examples
    --------
    >>> unknown_citations("See [Nobody et al. 1999] and [Zhu et al. 2024], not [12].")
    ['Nobody et al. 1999']
    """
    parts = [part for b in re.findall(r"\[([^\]]+)\]", text) for part in b.split(";")]
    years = [part.strip() for part in parts if re.search(r"\b(19|20)\d\d\b", part)]
    return [part for part in years if not any(name in part for name in REFERENCES)]
