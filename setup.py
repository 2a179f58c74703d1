"""Package metadata, read from settings.ini; pyproject.toml names the build backend only."""
import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_namespace_packages, setup

ROOT = Path(__file__).parent
LICENSES = {'apache2': 'Apache-2.0'}
STATUSES = {'1': 'Planning', '2': 'Pre-Alpha', '3': 'Alpha', '4': 'Beta', '5': 'Production/Stable'}
LAST_PYTHON = 13 # the newest 3.x the classifiers name

config = ConfigParser()
config.read(ROOT/'settings.ini', encoding='utf-8')
settings = config['DEFAULT']
package = settings['lib_path']
site = settings['doc_host']+settings['doc_baseurl']
first_python = int(settings['min_python'].split('.')[1])
LINK = re.compile(r'\]\((?![a-z]+:|#)([^)\s]+)\)') # of Markdown, to a file of the repository
PICTURES = ('.png', '.svg', '.jpg', '.gif')


def absolute(link):
    "A link that holds away from the repository, too: on the package index README is a page by itself."
    kind = 'raw' if link[1].endswith(PICTURES) else 'blob'
    return f"]({settings['git_url']}/{kind}/{settings['branch']}/{link[1]})"


setup(
    name=settings['lib_name'],
    version=settings['version'],
    description=settings['description'],
    long_description=LINK.sub(absolute, (ROOT/'README.md').read_text(encoding='utf-8')),
    long_description_content_type='text/markdown',
    author=settings['author'],
    license_expression=LICENSES[settings['license']],
    license_files=['LICENSE'],
    url=settings['git_url'],
    project_urls={
        'Documentation': site,
        'Changelog': f"{settings['git_url']}/blob/{settings['branch']}/CHANGELOG.md",
        'Issues': f"{settings['git_url']}/issues",
    },
    keywords=settings['keywords'].split(),
    classifiers=[
        f"Development Status :: {settings['status']} - {STATUSES[settings['status']]}",
        f"Intended Audience :: {settings['audience']}",
        f"Natural Language :: {settings['language']}",
        'Programming Language :: Python :: 3',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in range(first_python, LAST_PYTHON+1)),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Typing :: Typed',
    ],
    python_requires=f">={settings['min_python']}",
    package_dir={'': '.'}, # so that an editable install is a path: a finder would lose against a clone named like the package
    packages=find_namespace_packages(include=[package, f'{package}.*'], exclude=['*.__pycache__']), # the folders of the banks hold data only
    package_data={package: ['py.typed', 'bench/banks/*/*', 'command/verbs.json']},
    install_requires=settings['requirements'].split(),
    extras_require={name: settings[f'{name}_requirements'].split() for name in [*settings['extras'].split(), 'dev']},
    entry_points={
        'console_scripts': settings['console_scripts'].split(),
        'nbdev': [f'{package}={package}._modidx:d'], # links names in backticks to their documentation
    },
    zip_safe=False,
)
