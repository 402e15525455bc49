(module
  (memory i64 1)
  (func (param i64) (result i32) (i32.load8_u (local.get 0))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i64) -> i32 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i64):
;;                                     v3 = load.i64 notrap aligned readonly can_move v0+40
;; @0020                               v4 = load.i64 notrap aligned v3+8
;; @0020                               v5 = iconst.i64 1
;; @0020                               v6, v7 = uadd_overflow v1, v5  ; v5 = 1
;; @0020                               v8 = icmp ugt v6, v4
;; @0020                               v9 = bor v8, v7
;; @0020                               trapnz v9, heap_oob
;; @0020                               v10 = load.i64 notrap aligned v3
;; @0020                               v11 = iconst.i64 0
;; @0020                               v12 = iadd v1, v11  ; v11 = 0
;; @0020                               v13 = iadd v10, v12
;; @0020                               v14 = select_spectre_guard v9, v10, v13
;; @0020                               v15 = uload8.i32 notrap little region0 v14
;; @0023                               return v15
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq 0x28(%rdi), %rax
;;   movq 8(%rax), %rcx
;;   movq %rsi, %r11
;;   addq $0x1, %r11
;;   setb %dl
;;   cmpq %rcx, %r11
;;   seta %cl
;;   orl %edx, %ecx
;;   testb %cl, %cl
;;   jnz #trap=heap_oob
;;   movq (%rax), %rax
;;   leaq (%rax, %rsi), %rdx
;;   testb %cl, %cl
;;   cmovneq %rax, %rdx
;;   movzbq (%rdx), %rax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
