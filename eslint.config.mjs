// `npm run lint:js`. Layout is prettier's business; these rules are about what the code does.

import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import globals from 'globals';

export default defineConfig([
  // What git ignores, and what is made rather than written.
  globalIgnores(['**/target/', 'dist/', 'examples/out/', 'benches/.cache/', 'docs/api/', 'npm/']),
  js.configs.recommended,
  {
    // What Node 20 can parse, the oldest that the package promises to run on.
    languageOptions: { ecmaVersion: 2024 },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
  },
  {
    files: ['**/*.js', '**/*.cjs'],
    languageOptions: { sourceType: 'commonjs', globals: globals.node },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: { sourceType: 'module', globals: globals.nodeBuiltin },
  },
  {
    files: ['__test__/**/*.test.js'],
    languageOptions: { globals: globals.jest },
  },
]);
