(module
  (memory 1)
  (func (param i32) (result i64) (i64.load offset=0x8000000 (local.get 0))))

;; Expected:
;; function 0
;; function u0:0(i64 vmctx, i32) -> i64 tail {
;;     region0 = 0 "heap"
;;     region1 = 1 "table"
;;     region2 = 2 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly gv0+8
;;     gv2 = load.i64 notrap aligned gv1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v9 = load.i64 notrap aligned readonly can_move v0+32
;;                                     v4 = load.i64 notrap aligned readonly can_move v0+40
;; @0020                               v3 = uextend.i64 v1
;; @0020                               v5 = load.i64 notrap aligned v4+8
;; @0020                               v6 = iconst.i64 0x0800_0008
;; @0020                               v7 = iadd v3, v6  ; v6 = 0x0800_0008
;; @0020                               v8 = icmp ugt v7, v5
;; @0020                               trapnz v8, heap_oob
;; @0020                               v10 = iconst.i64 0x0800_0000
;; @0020                               v11 = iadd v3, v10  ; v10 = 0x0800_0000
;; @0020                               v12 = iadd v9, v11
;; @0020                               v13 = select_spectre_guard v8, v9, v12
;; @0020                               v14 = load.i64 notrap little region0 v13
;; @0026                               return v14
;; }
;;
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq 0x28(%rdi), %r10
;;   movq 8(%r10), %r10
;;   movl %esi, %r11d
;;   leaq 0x8000008(%r11), %rax
;;   cmpq %r10, %rax
;;   jnbe #trap=heap_oob
;;   movq 0x20(%rdi), %rcx
;;   leaq 0x8000000(%rcx, %r11), %r11
;;   cmpq %r10, %rax
;;   cmovaq %rcx, %r11
;;   movq (%r11), %rax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
