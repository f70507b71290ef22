import importX from 'eslint-plugin-import-x'
import tseslint from 'typescript-eslint'

/** Left to right: a folder of src/ imports only from itself and from those before it. */
const ORDER = [
  ['core'],
  ['plan'],
  ['protocol'],
  ['backends'],
  ['scheduler'],
  ['attention'],
  ['program'],
  ['nn'],
  ['train'],
  ['analysis', 'models', 'interop', 'plots'],
  ['fleet'],
  ['cli'],
]

function directionZones() {
  return ORDER.flatMap((group, level) => {
    const later = ORDER.slice(level + 1).flat()
    const siblings = group.length > 1
    return group.flatMap((folder) => [
      ...later.map((other) => ({
        target: `./src/${folder}`,
        from: `./src/${other}`,
        message: `src/${folder} must not import from src/${other}: data flows one way`,
      })),
      ...(siblings
        ? group
            .filter((other) => other !== folder)
            .map((other) => ({ target: `./src/${folder}`, from: `./src/${other}` }))
        : []),
    ])
  })
}

export default tseslint.config(
  {
    ignores: [
      'dist/**',
      'build/**',
      'node_modules/**',
      'assembly/**',
      'examples/**',
      'docs/**',
      'coverage/**',
      '**/*.d.ts',
    ],
  },
  {
    files: [
      'src/**/*.ts',
      'workers/**/*.ts',
      'tests/**/*.ts',
      'bench/**/*.ts',
      'demo/**/*.{ts,tsx}',
      'scripts/**/*.ts',
      'vitest.config.ts',
    ],
    extends: [tseslint.configs.recommendedTypeChecked],
    plugins: { 'import-x': importX },
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    settings: { 'import-x/resolver-next': [importX.createNodeResolver({ extensions: ['.ts', '.js'] })] },
    rules: {
      'import-x/no-cycle': 'error',
      'import-x/no-restricted-paths': [
        'error',
        {
          zones: [
            ...directionZones(),
            { target: './src', from: './workers', message: 'workers/ holds entries over src/' },
            {
              target: ['./src', './workers', './bench', './tests'],
              from: './assembly',
              except: ['./abi.ts'],
              message: 'only assembly/abi.ts may be imported',
            },
            {
              target: './src/backends/wasm',
              from: './src/backends/webgpu',
              message: 'backends never import each other',
            },
            {
              target: './src/backends/webgpu',
              from: './src/backends/wasm',
              message: 'backends never import each other',
            },
          ],
        },
      ],
      'no-restricted-exports': ['error', { restrictDefaultExports: { direct: true } }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      '@typescript-eslint/restrict-template-expressions': 'off',
      '@typescript-eslint/no-empty-object-type': ['error', { allowInterfaces: 'with-single-extends' }],
      'max-lines': ['error', { max: 300, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 40, skipBlankLines: true, skipComments: true }],
      'max-params': ['error', { max: 5 }],
      'max-len': [
        'error',
        { code: 120, ignoreStrings: true, ignoreTemplateLiterals: true, ignoreRegExpLiterals: true },
      ],
      eqeqeq: 'error',
    },
  },
  {
    files: ['vitest.config.ts', 'demo/vite.config.ts'],
    rules: { 'no-restricted-exports': 'off' },
  },
  {
    // A kernel's text is one function.
    files: ['src/backends/webgpu/kernels/*.wgsl.ts'],
    rules: { 'max-lines-per-function': ['error', { max: 90, skipBlankLines: true, skipComments: true }] },
  },
  {
    // A suite is one function around its tests; references take what their formulas name.
    files: ['tests/**/*.ts'],
    rules: { 'max-lines-per-function': 'off', 'max-params': ['error', { max: 8 }] },
  },
  {
    // A contender is one function: what it sets up, and the run that uses it.
    files: ['bench/**/*.ts'],
    rules: {
      'max-lines-per-function': ['error', { max: 100, skipBlankLines: true, skipComments: true }],
      'max-params': ['error', { max: 6 }],
    },
  },
  {
    // A component's markup belongs together.
    files: ['demo/**/*.tsx'],
    rules: { 'max-lines-per-function': ['error', { max: 80, skipBlankLines: true, skipComments: true }] },
  },
  {
    files: ['tests/**/*.ts', 'bench/**/*.ts', 'scripts/**/*.ts'],
    rules: {
      'max-lines': ['error', { max: 360, skipBlankLines: true, skipComments: true }],
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
)
